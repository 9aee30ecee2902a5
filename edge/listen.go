package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sightglass/shared/daemon"
)

// sendBuffer bounds what the kernel holds for a client that does not read, in bytes (Linux doubles it). Without it
// the kernel takes megabytes for each, and such a client is only noticed after ten minutes. One plain snapshot is
// about 50 kB.
const sendBuffer = 64 << 10

// Without traffic the kernel asks after a client this often, and gives it up after so many questions without an answer.
const (
	keepAliveEvery = 15 * time.Second
	keepAliveTries = 4
)

// listenPublic listens on IPv4 and IPv6. Its sockets have bounded send buffers, and the kernel gives up a client that
// acknowledges nothing for the timeout, so the edge needs no timers of its own for clients that are gone. Accepted
// connections inherit all of that: it costs no system call for each.
func listenPublic(addr string, timeout time.Duration) (*net.TCPListener, error) {
	config := net.ListenConfig{
		KeepAlive: -1, // do not set it anew for each connection
		Control: func(_, _ string, raw syscall.RawConn) error {
			var failed error
			err := raw.Control(func(fd uintptr) { failed = setOptions(int(fd), timeout) })
			return errors.Join(err, failed)
		},
	}
	ln, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

func setOptions(fd int, timeout time.Duration) error {
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAliveEvery.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAliveEvery.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveTries},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout.Milliseconds())},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("socket option %d: %w", o.name, err)
		}
	}
	return nil
}

// spareFiles are the descriptors that are kept for all that is no client: Redis, listeners, HTTP requests.
const spareFiles = 100

// fitClients gives the number of clients, at most the one wanted, for which the process may open files. Go has raised
// the soft limit to the hard one by now.
func fitClients(wanted int, log *slog.Logger) int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		log.Warn("cannot tell how many files may be open", "err", err)
		return wanted
	}
	log.Info("limit of open files", "files", files.Cur, "max_clients", wanted)
	most := max(1, int(min(files.Cur, math.MaxInt32))-spareFiles)
	if wanted <= most {
		return wanted
	}
	log.Warn("--max-clients does not fit the limit of open files and is lowered; raise the limit (ulimit -n, LimitNOFILE=)",
		"max_clients", most, "wanted", wanted, "files", files.Cur)
	return most
}

// internalRoutes are for operators: GET /metrics and the profiles under /debug/pprof/.
func (e *Edge) internalRoutes() http.Handler {
	mux := daemon.InternalRoutes(e.metrics)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
