package hub

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"sightglass/edge/ws"
)

// maxMessage is the most bytes of a client's message; a ping has about 50.
const maxMessage = 512

// A client is one connection. Its goroutine reads; what is written goes through its writer.
type client struct {
	writer
	in       *ws.Reader
	addr     netip.Addr
	joined   time.Duration // on the hub's clock, as the times below
	heard    atomic.Int64  // when anything came, a time.Duration
	messages budget

	saidClose bool // it sent a close frame, after which it sends nothing
	garbled   bool // it did not keep to the protocol: what it sends has no meaning any more

	shard *shard // nil while it has not joined
	place int    // in the shard, guarded by the shard
}

func newClient(conn *ws.Conn, addr netip.Addr, h *Hub) (*client, error) {
	socket, ok := conn.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("the connection is no socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &client{in: ws.NewReader(conn, maxMessage), addr: addr, joined: h.clock()}
	c.heard.Store(int64(c.joined))
	return c, c.init(conn, raw, h)
}

// serve returns when the connection is over and nothing uses it any more.
func (c *client) serve() {
	defer c.stop()
	log := c.hub.opts.Log
	log.Debug("client joined", "addr", c.addr, "protocol", c.protocol.String())
	c.begin()
	why := c.read()
	c.dismiss(why, goodbye) // unless that was what ended the reading
	c.awaitGoodbye()
	why = c.why()
	c.hub.metrics.closed.WithLabelValues(why.label()).Inc()
	frames, bytes := c.sent()
	log.Debug("client left", "addr", c.addr, "protocol", c.protocol.String(), "code", why.code, "reason", why.text,
		"seconds", (c.hub.clock() - c.joined).Round(time.Millisecond).Seconds(), "frames", frames, "bytes", bytes)
}

// survive keeps a panic over one client's message from ending all the others' connections.
func (c *client) survive() {
	if p := recover(); p != nil {
		c.hub.opts.Log.Error("a client's handler panicked", "addr", c.addr, "panic", p)
	}
}

// refuse tells a client that it may not join. It gets a WebSocket only to hear why not: a browser is not told of a
// refused handshake's reason.
func (c *client) refuse(why reason) {
	defer c.stop()
	c.hub.metrics.closed.WithLabelValues(why.label()).Inc()
	c.hub.opts.Log.Debug("refused a client", "addr", c.addr, "code", why.code, "reason", why.text)
	c.dismiss(why, goodbye)
	c.awaitGoodbye()
}

// awaitGoodbye reads on until the client has answered the close frame or hung up, so that it gets to read why it must
// go: closing over unread bytes would reset the connection and take the frame along. Dismissing has set how long that
// may take.
func (c *client) awaitGoodbye() {
	const most = 2048 // frames: a flooder does not hold us for longer
	for n := 0; n < most && !c.garbled; n++ {
		if c.saidClose && !c.isBehind() {
			return
		}
		if _, _, err := c.next(); err != nil && !c.garbled {
			return
		}
	}
	// What comes is no WebSocket any more, but it must be taken off the socket all the same.
	io.CopyN(io.Discard, c.conn, most*maxMessage) //nolint:errcheck // it is over either way
}

// next reads the next frame, and keeps in mind when it was the last one.
func (c *client) next() (opcode byte, payload []byte, err error) {
	opcode, payload, err = c.in.Next()
	_, c.garbled = errors.AsType[*ws.Error](err)
	c.saidClose = c.saidClose || opcode == ws.Close
	return opcode, payload, err
}

// read takes the client's frames until one of them, or the connection's end, is a reason to stop.
func (c *client) read() reason {
	for {
		opcode, payload, err := c.next()
		if err != nil {
			return whyFailed(err)
		}
		now := c.hub.clock()
		c.heard.Store(int64(now))
		c.hub.metrics.count(opcode)
		if !c.messages.take(now) {
			return tooManyMessages
		}
		switch opcode {
		case ws.Text:
			c.answer(payload)
		case ws.Binary:
			return noBinary
		case ws.Ping:
			c.send(ws.AppendFrame(nil, ws.Pong, false, payload))
		case ws.Close:
			return c.returnClose(payload)
		}
	}
}

// returnClose answers the client's close frame with its own code.
func (c *client) returnClose(payload []byte) reason {
	code, err := ws.CloseCode(payload)
	if err != nil {
		return whyFailed(err)
	}
	c.end(left, ws.AppendClose(nil, code, ""), goodbye)
	return left
}

// answer answers a ping. Anything else is ignored: it is small and, by the budget, rare.
func (c *client) answer(message []byte) {
	pong, ok := pongTo(message)
	if !ok {
		c.hub.metrics.ignored.Inc()
		return
	}
	c.send(ws.AppendFrame(nil, ws.Text, false, pong))
}

// pongTo gives the answer to {"type":"ping"}, with its timestamp if it has one; false if the message is something else.
func pongTo(message []byte) (pong []byte, ok bool) {
	var ping struct {
		Type      string          `json:"type"`
		Timestamp json.RawMessage `json:"timestamp"`
	}
	if json.Unmarshal(message, &ping) != nil || ping.Type != "ping" {
		return nil, false
	}
	if len(ping.Timestamp) == 0 {
		return []byte(`{"type":"pong"}`), true
	}
	pong = append([]byte(`{"type":"pong","timestamp":`), ping.Timestamp...)
	return append(pong, '}'), true
}

// A budget is the frames that a client may still send: one in messageEvery for long, and messageBurst at once. It holds
// the time at which all of the burst will be there again, so the zero value is full and waiting refills it.
type budget struct{ full time.Duration }

const (
	messageEvery = 500 * time.Millisecond
	messageBurst = 20
)

// take reports false if the client has sent too many.
func (b *budget) take(now time.Duration) bool {
	b.full = max(b.full, now) + messageEvery
	return b.full-now <= messageBurst*messageEvery
}

// checkSilence pings a client that has had nothing for long, so that proxies on the way do not take the connection for
// dead, and ends it if it does not answer. While snapshots are written the kernel sees to that (see the listener's
// socket options).
func (c *client) checkSilence(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.behind || c.ended {
		return
	}
	every := c.hub.opts.PingInterval
	switch heard := time.Duration(c.heard.Load()); {
	case now-max(c.written, heard) >= 2*every+every/2:
		c.dismissLocked(noProgress, goodbye)
	case now-max(c.written, c.pinged) >= every:
		c.pinged = now
		c.put(ping)
	}
}

var ping = ws.AppendFrame(nil, ws.Ping, false, nil)
