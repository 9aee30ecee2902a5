package fanout

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// floorSendBuffer is the size of the edge's send buffers in bytes, so that the kernel does the same work for both.
	floorSendBuffer = 64 << 10
	backlog         = 4096 // maximum connections to accept; the kernel's default limit
	eventBatch      = 512  // maximum events of one epoll_wait
	lengthSize      = 4    // bytes of the length before each frame from the feeder
)

// A Floor is a fan-out server that does the minimum, as a baseline for an edge: one thread, one epoll instance, and one
// system call per client that writes a frame built by the feeder. As on an edge, a slow client skips to the newest frame.
// It validates nothing, so it must not serve real clients.
type Floor struct {
	epoll, listener, feed int

	clients map[int32]*floorClient
	open    []*floorClient
	latest  []byte
	partial []byte // received part of the next frame, with its length
	buf     []byte
}

type floorClient struct {
	fd      int
	index   int    // in Floor.open; -1 during the handshake
	request []byte // handshake request so far
	unsent  []byte // rest of the current frame
	behind  bool   // there is a newer frame
	waiting bool   // epoll reports when the socket is writable
}

// NewFloor listens on addr. The floor broadcasts the frames that it reads from the file descriptor feed; each frame is
// preceded by its length in 4 bytes, big-endian.
func NewFloor(addr netip.AddrPort, feed int) (*Floor, error) {
	f := &Floor{feed: feed, clients: make(map[int32]*floorClient), buf: make([]byte, 64<<10)}
	var err error
	if f.listener, err = newSocket(); err != nil {
		return nil, err
	}
	if err := f.bind(addr); err != nil {
		return nil, fmt.Errorf("floor on %s: %w", addr, err)
	}
	return f, nil
}

func (f *Floor) bind(addr netip.AddrPort) (err error) {
	if f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	return errors.Join(
		unix.SetsockoptInt(f.listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(f.listener, unix.SOL_SOCKET, unix.SO_SNDBUF, floorSendBuffer),
		unix.Bind(f.listener, sockaddr(addr)),
		unix.Listen(f.listener, backlog),
		unix.SetNonblock(f.feed, true),
		f.watch(unix.EPOLL_CTL_ADD, f.listener, unix.EPOLLIN),
		f.watch(unix.EPOLL_CTL_ADD, f.feed, unix.EPOLLIN),
	)
}

// Addr returns the listening address.
func (f *Floor) Addr() (netip.AddrPort, error) {
	name, err := unix.Getsockname(f.listener)
	if err != nil {
		return netip.AddrPort{}, err
	}
	inet := name.(*unix.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(inet.Addr), uint16(inet.Port)), nil
}

func (f *Floor) watch(op, fd int, events uint32) error {
	return unix.EpollCtl(f.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

var errFeedEnded = errors.New("the feed has ended")

// Run serves until the feed ends. It returns an error if epoll, accepting or reading the feed fails.
func (f *Floor) Run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer f.close()
	events := make([]unix.EpollEvent, eventBatch)
	for {
		n, err := unix.EpollWait(f.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if err := f.handle(e); errors.Is(err, errFeedEnded) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
}

func (f *Floor) close() {
	for _, c := range f.clients {
		unix.Close(c.fd)
	}
	unix.Close(f.listener)
	unix.Close(f.epoll)
}

func (f *Floor) handle(e unix.EpollEvent) error {
	switch int(e.Fd) {
	case f.listener:
		return f.accept()
	case f.feed:
		return f.readFeed()
	}
	c := f.clients[e.Fd]
	if c != nil && e.Events&unix.EPOLLOUT != 0 {
		f.flush(c)
	}
	if e.Events&^unix.EPOLLOUT != 0 && f.clients[e.Fd] == c && c != nil {
		f.read(c)
	}
	return nil
}

func (f *Floor) accept() error {
	for {
		fd, _, err := unix.Accept4(f.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECONNABORTED) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting client %d: %w", len(f.clients)+1, err)
		}
		f.clients[int32(fd)] = &floorClient{fd: fd, index: -1}
		if err := errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
			f.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN),
		); err != nil {
			return err
		}
	}
}

// read reads the handshake request. After the handshake it discards what the client sends, and drops a client that has
// disconnected.
func (f *Floor) read(c *floorClient) {
	n, err := unix.Read(c.fd, f.buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return
	case err != nil || n == 0:
		f.drop(c)
		return
	case c.index >= 0:
		return
	}
	c.request = append(c.request, f.buf[:n]...)
	if !strings.HasSuffix(string(c.request), headersEnd) {
		if len(c.request) > maxHandshake {
			f.drop(c)
		}
		return
	}
	if _, err := write(c.fd, acceptResponse(string(c.request))); err != nil {
		f.drop(c)
		return
	}
	c.request, c.index = nil, len(f.open)
	f.open = append(f.open, c)
}

func (f *Floor) readFeed() error {
	n, err := unix.Read(f.feed, f.buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return fmt.Errorf("reading the feed: %w", err)
	case n == 0:
		return errFeedEnded
	}
	f.partial = append(f.partial, f.buf[:n]...)
	for len(f.partial) >= lengthSize {
		end := lengthSize + int(binary.BigEndian.Uint32(f.partial))
		if len(f.partial) < end {
			return nil
		}
		f.broadcast(f.partial[lengthSize:end:end])
		f.partial = append([]byte(nil), f.partial[end:]...) // clients may still have unsent bytes of the old array
	}
	return nil
}

func (f *Floor) broadcast(frame []byte) {
	f.latest = frame
	for i := len(f.open) - 1; i >= 0; i-- { // in reverse: drop moves the last client, which is done, to the index of the dropped one
		c := f.open[i]
		if len(c.unsent) > 0 {
			c.behind = true
			continue
		}
		c.unsent = frame
		f.flush(c)
	}
}

// flush writes until everything is sent or the socket is full.
func (f *Floor) flush(c *floorClient) {
	for len(c.unsent) > 0 {
		n, err := write(c.fd, c.unsent)
		if errors.Is(err, unix.EAGAIN) {
			f.setWaiting(c, true)
			return
		}
		if err != nil {
			f.drop(c)
			return
		}
		if c.unsent = c.unsent[n:]; len(c.unsent) == 0 && c.behind {
			c.unsent, c.behind = f.latest, false
		}
	}
	f.setWaiting(c, false)
}

// setWaiting sets whether epoll reports that the socket is writable.
func (f *Floor) setWaiting(c *floorClient, waiting bool) {
	if c.waiting == waiting {
		return
	}
	c.waiting = waiting
	events := uint32(unix.EPOLLIN)
	if waiting {
		events |= unix.EPOLLOUT
	}
	if f.watch(unix.EPOLL_CTL_MOD, c.fd, events) != nil {
		f.drop(c)
	}
}

func (f *Floor) drop(c *floorClient) {
	if c.index >= 0 {
		last := f.open[len(f.open)-1]
		f.open[c.index], last.index = last, c.index
		f.open = f.open[:len(f.open)-1]
	}
	delete(f.clients, int32(c.fd))
	unix.Close(c.fd)
}
