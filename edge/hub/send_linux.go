package hub

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// send writes to a socket without blocking and returns the bytes that the socket did not accept.
//
// The system call is raw, so that the scheduler does not observe it. The call never blocks, but a fan-out makes ten
// thousand of them in a row; the scheduler would consider the thread blocked and hand the processor to another one.
func send(fd uintptr, b []byte) (rest []byte, err error) {
	for len(b) > 0 {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			b = b[n:]
		case unix.EAGAIN:
			return b, nil
		case unix.EINTR:
		default:
			return b, errno
		}
	}
	return nil, nil
}
