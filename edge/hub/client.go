package hub

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// A session is the inbound half of a connection: what a client sends, and what depends on how it connected.
type session interface {
	// greeting is written before the first snapshot; nil: nothing.
	greeting() []byte
	// rejection is written instead of everything else to a client that may not join.
	rejection(r reason) []byte
	// read handles the client's input until it is a reason to end the connection, or the connection's end.
	read(c *client) reason
	// drain reads, after the closing message was sent, until the client has closed its side: closing with unread bytes
	// would reset the connection before the client has read the reason. A read deadline is set.
	drain(c *client)
}

// A client is one connection. Its goroutine reads; everything that is written goes through its writer.
type client struct {
	writer
	session
	addr     netip.Addr
	joined   time.Duration // on the hub's clock
	received atomic.Int64  // when anything came from the client, a time.Duration on the hub's clock

	shard *shard // nil while it has not joined
	place int    // in the shard, guarded by the shard
}

func newClient(conn net.Conn, addr netip.Addr, h *Hub, codec *codec, s session) (*client, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("the connection is no socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	now := h.clock()
	c := &client{session: s, addr: addr, joined: now}
	c.writer = writer{conn: conn, raw: raw, hub: h, codec: codec, written: now}
	c.received.Store(int64(now))
	return c, raw.Control(func(fd uintptr) { c.fd = fd })
}

// serve returns when the connection is over and nothing uses it any more.
func (c *client) serve() {
	defer c.stop()
	log := c.hub.opts.Log
	log.Debug("client joined", "addr", c.addr, "protocol", c.codec.label)
	c.begin(c.greeting())
	c.close(c.read(c), closeGrace) // unless the reading ended because the connection was closed
	c.drain(c)
	r, frames, bytes := c.summary()
	c.hub.metrics.closed.WithLabelValues(codeLabel(r.code)).Inc()
	log.Debug("client left", "addr", c.addr, "protocol", c.codec.label, "code", r.code, "reason", r.text,
		"seconds", (c.hub.clock() - c.joined).Round(time.Millisecond).Seconds(), "frames", frames, "bytes", bytes)
}

// reject closes the connection of a client that may not join, with the reason.
func (c *client) reject(r reason) {
	defer c.stop()
	c.hub.metrics.closed.WithLabelValues(codeLabel(r.code)).Inc()
	c.hub.opts.Log.Debug("rejected a client", "addr", c.addr, "code", r.code, "reason", r.text)
	c.closeWith(r, c.rejection(r), closeGrace)
	c.drain(c)
}

// recoverPanic keeps a panic over one client's input from ending all other connections.
func (c *client) recoverPanic() {
	if p := recover(); p != nil {
		c.hub.opts.Log.Error("a client's handler panicked", "addr", c.addr, "panic", p)
	}
}

// checkSilence pings a client that got nothing for the ping interval, so that proxies on the way do not close the
// connection, and closes it if its protocol answers pings and this client does not. While snapshots are written the
// kernel detects clients that are gone; see the listener's socket options.
func (c *client) checkSilence(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.behind || c.ended {
		return
	}
	every := c.hub.opts.PingInterval
	switch received := time.Duration(c.received.Load()); {
	case c.codec.pongs && now-max(c.written, received) >= 2*every+every/2:
		c.closeLocked(noProgress, c.codec.closing(noProgress), closeGrace)
	case now-max(c.written, c.pinged) >= every:
		c.pinged = now
		c.put(c.codec.ping)
	}
}

// A rateLimit is the frames that a client may still send: one each messageInterval on average, and messageBurst at once.
// It holds the time at which the whole burst will be available again, so the zero value is full.
type rateLimit struct{ full time.Duration }

const (
	messageInterval = 500 * time.Millisecond
	messageBurst    = 20
)

// allow reports false if the client has sent too many.
func (l *rateLimit) allow(now time.Duration) bool {
	l.full = max(l.full, now) + messageInterval
	return l.full-now <= messageBurst*messageInterval
}
