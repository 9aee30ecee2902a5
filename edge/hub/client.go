package hub

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// A session is the inbound half of a connection: it handles what the client sends, and knows how the client connected.
type session interface {
	// greeting returns the bytes that precede the first snapshot; nil for none.
	greeting() []byte
	// rejection returns the bytes that a rejected client gets instead of a greeting and snapshots.
	rejection(r reason) []byte
	// read handles the client's input until there is a reason to close the connection, or the connection ends.
	read(c *client) reason
	// drain reads, after the closing message was sent, until the client has closed its side: closing a socket with unread
	// input resets the connection before the client has read the reason. A read deadline is set.
	drain(c *client)
}

// A client is one connection. Its goroutine reads; all writes go through its writer.
type client struct {
	writer
	session
	addr     netip.Addr
	joined   time.Duration // on the hub's clock
	received atomic.Int64  // time of the last input, on the hub's clock

	shard *shard // nil before the client joins
	place int    // in the shard, guarded by the shard
}

func newClient(conn net.Conn, addr netip.Addr, h *Hub, codec *codec, s session) (*client, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("the connection is not a socket")
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

// serve returns when the connection is closed and no goroutine uses it.
func (c *client) serve() {
	defer c.stop()
	log := c.hub.opts.Log
	log.Debug("client joined", "addr", c.addr, "protocol", c.codec.label)
	c.begin(c.greeting())
	c.close(c.read(c), closeGrace) // no effect if the connection was closed before, which made read return
	c.drain(c)
	r, frames, bytes := c.summary()
	c.hub.metrics.closed.WithLabelValues(codeLabel(r.code)).Inc()
	log.Debug("client left", "addr", c.addr, "protocol", c.codec.label, "code", r.code, "reason", r.text,
		"seconds", (c.hub.clock() - c.joined).Round(time.Millisecond).Seconds(), "frames", frames, "bytes", bytes)
}

// reject sends the reason to a client that may not join, and closes its connection.
func (c *client) reject(r reason) {
	defer c.stop()
	c.hub.metrics.closed.WithLabelValues(codeLabel(r.code)).Inc()
	c.hub.opts.Log.Debug("rejected a client", "addr", c.addr, "code", r.code, "reason", r.text)
	c.closeWith(r, c.rejection(r), closeGrace)
	c.drain(c)
}

// recoverPanic keeps a panic in one client's handler from ending the process.
func (c *client) recoverPanic() {
	if p := recover(); p != nil {
		c.hub.opts.Log.Error("a client's handler panicked", "addr", c.addr, "panic", p)
	}
}

// checkSilence pings a client that was sent nothing for the ping interval, so that proxies do not close the connection.
// It closes the connection if the protocol has pongs and none came. While snapshots are being written, the kernel
// detects dead clients; see setSocketOptions.
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

// A rateLimit bounds a client's frames: one per messageInterval on average, and messageBurst at once. It stores the
// time at which the whole burst will be available again, so the zero value is full.
type rateLimit struct{ full time.Duration }

const (
	messageInterval = 500 * time.Millisecond
	messageBurst    = 20
)

// allow counts a frame. It reports false if the client has sent too many.
func (l *rateLimit) allow(now time.Duration) bool {
	l.full = max(l.full, now) + messageInterval
	return l.full-now <= messageBurst*messageInterval
}
