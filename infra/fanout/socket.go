package fanout

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// otherFiles is an upper bound of a process's open files without its client connections.
const otherFiles = 100

// RaiseFileLimit raises this process's limit of open files so that it can hold this many connections. It returns an error
// if the hard limit is lower and the process may not raise it.
func RaiseFileLimit(connections int) error {
	need := uint64(connections + otherFiles)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= need {
		return err
	}
	hard := limit.Max
	limit.Cur, limit.Max = need, max(hard, need) // only root may raise the hard limit
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d connections need %d open files, but the limit is %d: raise it with ulimit -Hn: %w",
			connections, need, hard, err)
	}
	return nil
}

func newSocket() (int, error) {
	return unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func sockaddr(addr netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
}

// connect starts a non-blocking connection from a source address to server.
func connect(server netip.AddrPort, from netip.Addr) (int, error) {
	fd, err := newSocket()
	if err != nil {
		return 0, err
	}
	err = errors.Join(
		// Otherwise bind reserves a port for all destinations, and ports run out.
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))),
	)
	if err == nil {
		err = unix.Connect(fd, sockaddr(server))
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// reset closes a connection with a TCP reset, so that thousands of connections do not remain in TIME_WAIT.
func reset(fd int) {
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) //nolint:errcheck // then it only remains in TIME_WAIT
	unix.Close(fd)
}

// connectError returns the error of a non-blocking connect, or nil if it succeeded.
func connectError(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}

// receive reads at most size bytes into buf, or discards them. unix.Recvfrom would need a buffer of the discarded size.
func receive(fd int, buf []byte, size uint64, discard bool) (int, error) {
	flags := unix.MSG_DONTWAIT
	if discard {
		flags |= unix.MSG_TRUNC
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(size),
		uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// write writes to a non-blocking socket without notifying the Go scheduler, which would cost another 10 % of the time.
func write(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// SourceAddress returns the i-th loopback source address for clients: 127.0.1.1 to 127.0.1.254, 127.0.2.1 and so on.
func SourceAddress(i int) netip.Addr {
	const hosts = 254
	return netip.AddrFrom4([4]byte{127, 0, byte(1 + i/hosts%hosts), byte(1 + i%hosts)})
}
