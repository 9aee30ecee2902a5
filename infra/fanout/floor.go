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
	// floorSendBuffer is the edge's, so that the kernel works the same for both.
	floorSendBuffer = 64 << 10
	backlog         = 4096 // connections that wait to be accepted: the kernel's own limit
	eventBatch      = 512  // sockets that one look at epoll tells of
	lengthSize      = 4    // before each frame that comes from the feeder
)

// A Floor is the least that a fan-out server can do, for others to be compared with: one thread, one epoll, and for
// each client one system call that writes a frame which somebody else has built. Like an edge it gives a client that
// is slow the newest frame next. It checks nothing: it is a yardstick, no server.
type Floor struct {
	epoll, listener, feed int

	clients map[int32]*floorClient
	open    []*floorClient
	latest  []byte
	coming  []byte // what has come from the feeder of a frame that is not whole
	buf     []byte
}

type floorClient struct {
	fd      int
	place   int // in Floor.open; -1 during the handshake
	request []byte
	rest    []byte // of the frame that is being sent
	behind  bool   // there is a newer frame
	waiting bool   // epoll will tell when it takes more
}

// NewFloor listens on addr. It sends on what is written to feed: frames, each after its length in 4 bytes.
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

// Addr is where it listens.
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

// errFed is the end of the feed.
var errFed = errors.New("the feed has ended")

// Run works until the feed ends.
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
			if err := f.handle(e); errors.Is(err, errFed) {
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
		return f.takeFeed()
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
		f.clients[int32(fd)] = &floorClient{fd: fd, place: -1}
		if err := errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
			f.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN),
		); err != nil {
			return err
		}
	}
}

// read takes the handshake. What a client says later means nothing here, but that it has left.
func (f *Floor) read(c *floorClient) {
	n, err := unix.Read(c.fd, f.buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return
	case err != nil || n == 0:
		f.drop(c)
		return
	case c.place >= 0:
		return
	}
	c.request = append(c.request, f.buf[:n]...)
	if !strings.HasSuffix(string(c.request), headersEnd) {
		if len(c.request) > maxHandshake {
			f.drop(c)
		}
		return
	}
	if _, err := write(c.fd, answer(string(c.request))); err != nil {
		f.drop(c)
		return
	}
	c.request, c.place = nil, len(f.open)
	f.open = append(f.open, c)
}

func (f *Floor) takeFeed() error {
	n, err := unix.Read(f.feed, f.buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return fmt.Errorf("the feed: %w", err)
	case n == 0:
		return errFed
	}
	f.coming = append(f.coming, f.buf[:n]...)
	for len(f.coming) >= lengthSize {
		end := lengthSize + int(binary.BigEndian.Uint32(f.coming))
		if len(f.coming) < end {
			return nil
		}
		f.broadcast(f.coming[lengthSize:end:end])
		f.coming = append([]byte(nil), f.coming[end:]...) // clients may still be sent the old array
	}
	return nil
}

func (f *Floor) broadcast(frame []byte) {
	f.latest = frame
	for i := len(f.open) - 1; i >= 0; i-- { // drop puts the last one, who has had it, in the place of another
		c := f.open[i]
		if len(c.rest) > 0 {
			c.behind = true
			continue
		}
		c.rest = frame
		f.flush(c)
	}
}

// flush sends until all is sent or the socket takes no more.
func (f *Floor) flush(c *floorClient) {
	for len(c.rest) > 0 {
		n, err := write(c.fd, c.rest)
		if errors.Is(err, unix.EAGAIN) {
			f.await(c, true)
			return
		}
		if err != nil {
			f.drop(c)
			return
		}
		if c.rest = c.rest[n:]; len(c.rest) == 0 && c.behind {
			c.rest, c.behind = f.latest, false
		}
	}
	f.await(c, false)
}

func (f *Floor) await(c *floorClient, room bool) {
	if c.waiting == room {
		return
	}
	c.waiting = room
	events := uint32(unix.EPOLLIN)
	if room {
		events |= unix.EPOLLOUT
	}
	if f.watch(unix.EPOLL_CTL_MOD, c.fd, events) != nil {
		f.drop(c)
	}
}

func (f *Floor) drop(c *floorClient) {
	if c.place >= 0 {
		last := f.open[len(f.open)-1]
		f.open[c.place], last.place = last, c.place
		f.open = f.open[:len(f.open)-1]
	}
	delete(f.clients, int32(c.fd))
	unix.Close(c.fd)
}
