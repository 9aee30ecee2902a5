package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sendBuffer is the size of a socket's send buffer in bytes (Linux doubles it). By default the kernel buffers megabytes for a
// client that does not read, which is then detected only after ten minutes. One plain snapshot has about 50 kB.
const sendBuffer = 64 << 10

// The kernel's keep-alive: the time between probes of an idle connection, and how many probes may stay unacknowledged.
const (
	keepAliveInterval = 15 * time.Second
	keepAliveProbes   = 4
)

// listenPublic listens on IPv4 and IPv6. Its sockets have bounded send buffers, and the kernel closes the connection of a
// client that acknowledges nothing for the timeout, so the edge needs no timers for clients that are gone. Accepted
// connections inherit the options, without a system call for each.
func listenPublic(addr string, timeout time.Duration) (*net.TCPListener, error) {
	config := net.ListenConfig{
		KeepAlive: -1, // inherited, not set for each connection
		Control: func(_, _ string, raw syscall.RawConn) error {
			var optionErr error
			err := raw.Control(func(fd uintptr) { optionErr = setSocketOptions(int(fd), timeout) })
			return errors.Join(err, optionErr)
		},
	}
	ln, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

func setSocketOptions(fd int, timeout time.Duration) error {
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAliveInterval.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAliveInterval.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout.Milliseconds())},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("socket option %d: %w", o.name, err)
		}
	}
	return nil
}

// reservedFiles are the file descriptors reserved for everything but clients: Redis, listeners, HTTP requests.
const reservedFiles = 100

// fitMaxClients returns wanted, or the largest number of clients that the limit of open files allows if that is lower. The
// Go runtime has raised the soft limit to the hard limit.
func fitMaxClients(wanted int, log *slog.Logger) int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		log.Warn("cannot read the limit of open files", "err", err)
		return wanted
	}
	log.Info("limit of open files", "files", files.Cur, "max_clients", wanted)
	fitting := max(1, int(min(files.Cur, math.MaxInt32))-reservedFiles)
	if wanted <= fitting {
		return wanted
	}
	log.Warn("lowered --max-clients to the limit of open files; raise the limit (ulimit -n, LimitNOFILE=)",
		"max_clients", fitting, "wanted", wanted, "files", files.Cur)
	return fitting
}
