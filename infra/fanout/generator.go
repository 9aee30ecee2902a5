package fanout

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sightglass/edge/ws"
)

const (
	// connectRate is the number of clients that connect in a second. An edge on one core still serves the others meanwhile.
	connectRate = 2000
	// maxConnecting bounds the concurrent handshakes, far below the listeners' backlogs.
	maxConnecting = 256
	// handshakeTimeout is the maximum duration of a handshake, on a busy machine too.
	handshakeTimeout = 20 * time.Second
	// clientsPerAddress is an edge's default connection limit, so that an edge is measured with its default settings.
	clientsPerAddress = 10
	// pollInterval is the maximum time that the generator waits for socket events before it runs commands and timers.
	pollInterval = 10 * time.Millisecond
)

// A Generator holds many WebSocket clients of one server. One thread serves all of them by epoll: a client has neither a
// goroutine nor a buffer.
type Generator struct {
	server     netip.AddrPort
	request    []byte
	protocol   Protocol
	deliveries *Deliveries

	commands chan func() // executed by the loop
	done     chan error  // the loop's result

	// Only the loop uses these.
	epoll      int
	clients    map[int]*client // by file descriptor
	inflaters  int             // clients that inflate deflated messages
	index      *deflateIndex
	tails      tailPool
	batch      batch
	churn      churn
	connecting int // handshakes in progress
	expired    time.Time
	ends       map[string]int // failed and ended connections, by reason
	stopped    bool
	buf        []byte

	counts counts
}

// counts are written by the loop and may be read by any goroutine.
type counts struct {
	steady                  atomic.Int64 // steady clients that are connected and read
	lost                    atomic.Int64 // steady clients whose connection failed or ended
	messages, payload, wire atomic.Int64 // messages, payload bytes and bytes received by all clients
}

type state int

const (
	connecting state = iota
	upgrading
	open
	stalled // open, but no longer reading
)

type role int

const (
	steady   role = iota // stays connected
	churning             // connects and leaves
	stalling             // stops reading as soon as it is open
)

type client struct {
	fd       int
	role     role
	state    state
	closing  bool      // has started to disconnect
	inflates bool      // keeps whole messages and inflates those that the index lacks
	since    time.Time // start of the handshake, or of disconnecting
	response []byte    // the server's handshake response so far
	unsent   []byte    // bytes that the socket has not accepted yet
	parser   parser
}

// NewGenerator starts a generator without clients for a server. It records the clients' messages in deliveries. It returns
// an error if the process cannot open an epoll instance.
func NewGenerator(server netip.AddrPort, p Protocol, deliveries *Deliveries) (*Generator, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	g := &Generator{
		server: server, request: p.request(server), protocol: p, deliveries: deliveries,
		commands: make(chan func()), done: make(chan error, 1),
		epoll: epoll, clients: make(map[int]*client), index: newDeflateIndex(),
		ends: make(map[string]int), buf: make([]byte, 64<<10),
	}
	go func() { g.done <- g.loop() }()
	return g, nil
}

// do runs f in the loop and waits for it. It returns an error if the loop has ended.
func (g *Generator) do(f func()) error {
	executed := make(chan struct{})
	select {
	case g.commands <- func() { f(); close(executed) }:
		<-executed
		return nil
	case err := <-g.done:
		g.done <- err
		return errors.Join(errors.New("the generator has stopped"), err)
	}
}

// Connect adds n steady clients and returns when all of them have completed the handshake. It returns ErrNotOffered if the
// server does not offer the protocol, and another error if a steady connection fails.
func (g *Generator) Connect(ctx context.Context, n int) error {
	want, lost := g.counts.steady.Load()+int64(n), g.counts.lost.Load()
	if err := g.do(func() { g.batch.start(n) }); err != nil {
		return err
	}
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for g.counts.steady.Load() < want {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
		if g.counts.lost.Load() > lost {
			return g.connectFailure()
		}
	}
	return nil
}

// connectFailure returns the reasons for which connections have failed.
func (g *Generator) connectFailure() error {
	ends, err := g.Ends()
	if err != nil {
		return err
	}
	if ends[ErrNotOffered.Error()] > 0 {
		return ErrNotOffered
	}
	return fmt.Errorf("some clients could not connect: %s", strings.Join(slices.Sorted(maps.Keys(ends)), "; "))
}

// Steady returns the number of steady clients that are connected and read.
func (g *Generator) Steady() int { return int(g.counts.steady.Load()) }

// Ends returns the number of connections that failed or that ended without the client closing them, by reason.
func (g *Generator) Ends() (byReason map[string]int, err error) {
	err = g.do(func() { byReason = maps.Clone(g.ends) })
	return byReason, err
}

// Close resets all connections and returns the loop's error. It must be called once.
func (g *Generator) Close() error {
	if err := g.do(func() { g.stopped = true }); err != nil {
		return err
	}
	return <-g.done
}

// loop owns the clients. It runs until Close or an epoll error.
func (g *Generator) loop() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer func() {
		for fd := range g.clients {
			reset(fd)
		}
		unix.Close(g.epoll)
	}()
	events := make([]unix.EpollEvent, eventBatch)
	for !g.stopped {
		g.runCommands()
		now := time.Now()
		g.openBatch(now)
		g.updateChurn(now)
		n, err := unix.EpollWait(g.epoll, events, int(pollInterval/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if c := g.clients[int(e.Fd)]; c != nil {
				g.handle(c, e.Events)
			}
		}
		g.expireHandshakes(now)
	}
	return nil
}

// runCommands runs the commands that are waiting.
func (g *Generator) runCommands() {
	for {
		select {
		case f := <-g.commands:
			f()
		default:
			return
		}
	}
}

// A batch is a group of steady clients that connect at the same time. Their source addresses rotate.
type batch struct {
	left, opened            int
	addresses, firstAddress int // number of source addresses, and index of the first
	pacer                   pacer
}

func (b *batch) start(n int) {
	b.firstAddress += b.addresses
	b.addresses = (n + clientsPerAddress - 1) / clientsPerAddress
	b.left, b.opened, b.pacer = n, 0, pacer{perSecond: connectRate}
}

// openBatch starts the connections of the batch that are due.
func (g *Generator) openBatch(now time.Time) {
	b := &g.batch
	for range min(b.left, b.pacer.due(now, maxConnecting-g.connecting)) {
		b.left--
		from := SourceAddress(b.firstAddress + b.opened%b.addresses)
		b.opened++
		g.open(steady, from, now)
	}
}

// open starts a client's connection.
func (g *Generator) open(as role, from netip.Addr, now time.Time) {
	fd, err := connect(g.server, from)
	if err != nil {
		g.countEnd(as, err)
		return
	}
	c := &client{fd: fd, role: as, since: now, parser: parser{maxTail: tailSize, tails: &g.tails}}
	g.clients[fd] = c
	g.connecting++
	if as == churning {
		g.churn.clients = append(g.churn.clients, c)
	}
	g.watch(unix.EPOLL_CTL_ADD, c, unix.EPOLLOUT)
}

func (g *Generator) watch(op int, c *client, events uint32) {
	if err := unix.EpollCtl(g.epoll, op, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.fd)}); err != nil {
		g.drop(c, err)
	}
}

// handle handles the socket events of a client.
func (g *Generator) handle(c *client, events uint32) {
	switch {
	case c.state == connecting:
		if err := connectError(c.fd); err != nil {
			g.drop(c, err)
			return
		}
		c.state = upgrading
		g.watch(unix.EPOLL_CTL_MOD, c, unix.EPOLLIN)
		g.send(c, g.request)
		return
	case c.state == stalled:
		g.drop(c, errStalledDropped)
		return
	case events&unix.EPOLLOUT != 0 && len(c.unsent) > 0:
		unsent := c.unsent
		c.unsent = nil
		g.watch(unix.EPOLL_CTL_MOD, c, unix.EPOLLIN)
		g.send(c, unsent)
	}
	if events&^unix.EPOLLOUT != 0 && g.clients[c.fd] == c {
		g.read(c)
	}
}

// send writes b, and keeps what the socket does not accept until it is writable.
func (g *Generator) send(c *client, b []byte) {
	if len(c.unsent) == 0 {
		n, err := write(c.fd, b)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			g.drop(c, err)
			return
		}
		if b = b[n:]; len(b) == 0 {
			return
		}
	}
	c.unsent = append(c.unsent, b...)
	g.watch(unix.EPOLL_CTL_MOD, c, unix.EPOLLIN|unix.EPOLLOUT)
}

// drop resets a client's connection and counts its end, unless the client was closing. A stalled client is replaced.
func (g *Generator) drop(c *client, reason error) {
	if g.clients[c.fd] != c {
		return
	}
	switch {
	case c.state < open:
		g.connecting--
	case c.state == open && c.role == steady:
		g.counts.steady.Add(-1)
	}
	if !c.closing {
		g.countEnd(c.role, reason)
	}
	if c.inflates {
		g.inflaters--
	}
	delete(g.clients, c.fd)
	c.parser.release()
	reset(c.fd)
	if c.state == stalled {
		g.open(stalling, g.churn.nextAddress(), time.Now())
	}
}

func (g *Generator) countEnd(as role, reason error) {
	g.ends[reason.Error()]++
	if as == steady {
		g.counts.lost.Add(1)
	}
}

// expireHandshakes drops clients whose handshake takes too long. It checks once a second.
func (g *Generator) expireHandshakes(now time.Time) {
	if g.connecting == 0 || now.Sub(g.expired) < time.Second {
		return
	}
	g.expired = now
	for _, c := range g.clients {
		if c.state < open && now.Sub(c.since) > handshakeTimeout {
			g.drop(c, errHandshakeTimeout)
		}
	}
}

var (
	errHandshakeTimeout = errors.New("no handshake response within " + handshakeTimeout.String())
	// errStalledDropped is how a stalled client ends: the server's close frame is behind unread data.
	errStalledDropped = errors.New("dropped by the server while stalled")
)

// closeError returns the error for a close frame with this payload.
func closeError(payload []byte) error {
	code := ws.CloseNoCode
	if len(payload) >= 2 {
		code = int(binary.BigEndian.Uint16(payload))
	}
	return errors.New("closed with code " + strconv.Itoa(code))
}
