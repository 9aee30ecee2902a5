package fanout

import (
	"context"
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
)

const (
	// connectRate is how many clients connect in a second: quick, and an edge on one core still serves the others.
	connectRate = 2000
	// maxConnecting bounds the handshakes under way, far below the listeners' backlogs.
	maxConnecting = 256
	// handshakeWithin is how long one may take, on a machine that has other things to do.
	handshakeWithin = 20 * time.Second
	// perAddress is an edge's default limit, so that it can be measured as it is.
	perAddress = 10
	// patience is how long the generator sleeps if no socket has anything: the grain of its clock.
	patience = 10 * time.Millisecond
)

// A Generator holds many WebSocket clients of one server. One thread follows all of them by epoll: a client has
// neither a goroutine nor a buffer.
type Generator struct {
	server  netip.AddrPort
	request []byte
	proto   Protocol
	tally   *Tally

	commands chan func() // run by the loop
	ended    chan error

	// The loop's own.
	epoll      int
	clients    map[int]*client
	namers     int // clients that inflate, if they are deflated
	names      *names
	tails      tails
	batch      batch
	crowd      crowd
	connecting int
	swept      time.Time
	ends       map[string]int // connections that have failed or ended, by why
	stopped    bool
	buf        []byte

	counts counts
}

// counts are written by the loop and read by anyone.
type counts struct {
	steady                  atomic.Int64 // clients that are open, stay, and read
	lost                    atomic.Int64 // of these, those that have failed or ended
	messages, payload, wire atomic.Int64 // of all clients
}

type state int

const (
	connecting state = iota
	upgrading
	open
	stalled // open, and reads no more
)

type role int

const (
	steady   role = iota
	passing       // comes and goes
	stalling      // stops reading as soon as it is open
)

type client struct {
	fd      int
	role    role
	state   state
	leaving bool
	namer   bool // holds whole messages, to name those that nobody has named yet
	since   time.Time
	head    []byte // the handshake's answer so far
	unsent  []byte // what the socket would not take
	parser  parser
}

// NewGenerator makes clients for a server that speaks the protocol. Their messages are noted in tally.
func NewGenerator(server netip.AddrPort, p Protocol, tally *Tally) (*Generator, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	g := &Generator{
		server: server, request: p.request(server), proto: p, tally: tally,
		commands: make(chan func()), ended: make(chan error, 1),
		epoll: epoll, clients: make(map[int]*client), names: newNames(),
		ends: make(map[string]int), buf: make([]byte, 64<<10),
	}
	go func() { g.ended <- g.loop() }()
	return g, nil
}

// do runs f in the loop, if that still runs.
func (g *Generator) do(f func()) error {
	done := make(chan struct{})
	select {
	case g.commands <- func() { f(); close(done) }:
		<-done
		return nil
	case err := <-g.ended:
		g.ended <- err
		return errors.Join(errors.New("the generator has ended"), err)
	}
}

// Connect adds n steady clients, and returns when all have got through the handshake.
func (g *Generator) Connect(ctx context.Context, n int) error {
	want, lost := g.counts.steady.Load()+int64(n), g.counts.lost.Load()
	if err := g.do(func() { g.batch.begin(n) }); err != nil {
		return err
	}
	poll := time.NewTicker(patience)
	defer poll.Stop()
	for g.counts.steady.Load() < want {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
		if g.counts.lost.Load() > lost {
			return g.whyLost()
		}
	}
	return nil
}

func (g *Generator) whyLost() error {
	ends, err := g.Ends()
	if err != nil {
		return err
	}
	if ends[ErrNotOffered.Error()] > 0 {
		return ErrNotOffered
	}
	return fmt.Errorf("not every client could connect: %s", strings.Join(slices.Sorted(maps.Keys(ends)), "; "))
}

// Steady is how many clients are there to stay, and read.
func (g *Generator) Steady() int { return int(g.counts.steady.Load()) }

// Ends tell how many connections have failed, or ended otherwise than by a passing client's leave, by why.
func (g *Generator) Ends() (why map[string]int, err error) {
	err = g.do(func() { why = maps.Clone(g.ends) })
	return why, err
}

// Close ends all connections. It must be called once.
func (g *Generator) Close() error {
	if err := g.do(func() { g.stopped = true }); err != nil {
		return err
	}
	return <-g.ended
}

// loop owns the clients.
func (g *Generator) loop() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer g.close()
	events := make([]unix.EpollEvent, eventBatch)
	for !g.stopped {
		g.obey()
		now := time.Now()
		g.openBatch(now)
		g.moveCrowd(now)
		n, err := unix.EpollWait(g.epoll, events, int(patience/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if c := g.clients[int(e.Fd)]; c != nil {
				g.ready(c, e.Events)
			}
		}
		g.expire(now)
	}
	return nil
}

func (g *Generator) close() {
	for fd := range g.clients {
		reset(fd)
	}
	unix.Close(g.epoll)
}

// obey runs the commands that wait.
func (g *Generator) obey() {
	for {
		select {
		case f := <-g.commands:
			f()
		default:
			return
		}
	}
}

// A batch is the steady clients that connect together. They take turns with their addresses.
type batch struct {
	left, opened     int
	addresses, first int // how many addresses, and the number of the first
	pace             pace
}

func (b *batch) begin(n int) {
	b.first += b.addresses
	b.addresses = (n + perAddress - 1) / perAddress
	b.left, b.opened, b.pace = n, 0, pace{perSecond: connectRate}
}

func (b *batch) nextAddress() netip.Addr {
	i := b.first + b.opened%b.addresses
	b.opened++
	return SourceAddress(i)
}

// openBatch begins as many connections as are due.
func (g *Generator) openBatch(now time.Time) {
	b := &g.batch
	for range min(b.left, b.pace.take(now, maxConnecting-g.connecting)) {
		b.left--
		g.open(steady, b.nextAddress(), now)
	}
}

func (g *Generator) open(as role, from netip.Addr, now time.Time) {
	fd, err := connect(g.server, from)
	if err != nil {
		g.count(as, err)
		return
	}
	c := &client{fd: fd, role: as, since: now, parser: parser{keep: tailSize, tails: &g.tails}}
	g.clients[fd] = c
	g.connecting++
	if as == passing {
		g.crowd.here = append(g.crowd.here, c)
	}
	g.watch(unix.EPOLL_CTL_ADD, c, unix.EPOLLOUT)
}

func (g *Generator) watch(op int, c *client, events uint32) {
	if err := unix.EpollCtl(g.epoll, op, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.fd)}); err != nil {
		g.lose(c, err)
	}
}

func (g *Generator) ready(c *client, events uint32) {
	switch {
	case c.state == connecting:
		if err := connectError(c.fd); err != nil {
			g.lose(c, err)
			return
		}
		c.state = upgrading
		g.watch(unix.EPOLL_CTL_MOD, c, unix.EPOLLIN)
		g.send(c, g.request)
		return
	case c.state == stalled:
		g.lose(c, errDropped)
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

func (g *Generator) send(c *client, b []byte) {
	if len(c.unsent) == 0 {
		n, err := write(c.fd, b)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			g.lose(c, err)
			return
		}
		if b = b[n:]; len(b) == 0 {
			return
		}
	}
	c.unsent = append(c.unsent, b...)
	g.watch(unix.EPOLL_CTL_MOD, c, unix.EPOLLIN|unix.EPOLLOUT)
}

// lose forgets a client whose connection is over.
func (g *Generator) lose(c *client, why error) {
	if g.clients[c.fd] != c {
		return
	}
	switch {
	case c.state < open:
		g.connecting--
	case c.state == open && c.role == steady:
		g.counts.steady.Add(-1)
	}
	if !c.leaving {
		g.count(c.role, why)
	}
	if c.namer {
		g.namers--
	}
	delete(g.clients, c.fd)
	c.parser.done()
	reset(c.fd)
	if c.state == stalled {
		g.open(stalling, g.crowd.nextAddress(), time.Now())
	}
}

func (g *Generator) count(as role, why error) {
	g.ends[why.Error()]++
	if as == steady {
		g.counts.lost.Add(1)
	}
}

// expire gives up on handshakes that take too long.
func (g *Generator) expire(now time.Time) {
	if g.connecting == 0 || now.Sub(g.swept) < time.Second {
		return
	}
	g.swept = now
	for _, c := range g.clients {
		if c.state < open && now.Sub(c.since) > handshakeWithin {
			g.lose(c, errNoAnswer)
		}
	}
}

var (
	errNoAnswer = errors.New("no answer to the handshake in " + handshakeWithin.String())
	// errDropped is how a client that reads nothing ends: the server's reason is behind what it has not read.
	errDropped = errors.New("dropped while not reading")
)

// closeReason describes a close frame.
func closeReason(payload []byte) error {
	code := closeNoCode
	if len(payload) >= 2 {
		code = int(payload[0])<<8 | int(payload[1])
	}
	return errors.New("closed with " + strconv.Itoa(code))
}
