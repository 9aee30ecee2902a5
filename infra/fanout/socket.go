package fanout

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spareFiles is what a process has open beside its clients: far under a hundred.
const spareFiles = 100

// RaiseFiles makes room for so many connections in this process, or says why it cannot.
func RaiseFiles(connections int) error {
	need := uint64(connections + spareFiles)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= need {
		return err
	}
	hard := limit.Max
	limit.Cur, limit.Max = need, max(hard, need) // the hard one can be raised only by root
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d connections need %d open files and the limit is %d: raise it with ulimit -Hn: %w",
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

// connect begins to connect to server from one of our addresses.
func connect(server netip.AddrPort, from netip.Addr) (int, error) {
	fd, err := newSocket()
	if err != nil {
		return 0, err
	}
	err = errors.Join(
		// Without it a bound socket takes its port before it is known where to, and ports run out.
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

// reset ends a connection without a farewell, so that thousands leave no TIME_WAIT behind.
func reset(fd int) {
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) //nolint:errcheck // then it lingers
	unix.Close(fd)
}

// connectError is why a connection did not come about, or nil.
func connectError(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}

// receive reads at most size bytes, into buf or, with discard, nowhere. It goes around unix.Recvfrom, which wants a
// buffer as large as what is discarded.
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

// write is a write that tells the scheduler nothing: it does not block, and telling costs a tenth of it.
func write(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// SourceAddress is the i-th of the loopback addresses that clients come from: 127.0.1.1 to 127.0.1.254, 127.0.2.1 and on.
func SourceAddress(i int) netip.Addr {
	const hosts = 254
	return netip.AddrFrom4([4]byte{127, 0, byte(1 + i/hosts%hosts), byte(1 + i%hosts)})
}
