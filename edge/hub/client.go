package hub

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
	"golang.org/x/time/rate"

	"sightglass/edge/feed"
)

const (
	// maxMessage is the most bytes of a client's message; a ping has about 50.
	maxMessage = 512
	// A client may send this many messages a second for long, and this many at once.
	messageRate  = 2
	messageBurst = 20
)

// A client is one connection: its handler's goroutine reads, one goroutine beside it writes.
type client struct {
	conn   *websocket.Conn
	addr   netip.Addr
	hub    *Hub
	budget *rate.Limiter
	joined time.Time

	wake      chan struct{} // has room for one: there is something to write
	pongs     chan []byte   // answers to the client's pings; what does not fit was a flood
	quit      chan struct{} // closed by the reader: the writer must end
	stuck     atomic.Bool   // the writer gave up: no progress
	dismissed atomic.Bool   // it must be told to go elsewhere
}

func newClient(conn *websocket.Conn, addr netip.Addr, h *Hub) *client {
	return &client{
		conn: conn, addr: addr, hub: h,
		budget: rate.NewLimiter(messageRate, messageBurst),
		joined: time.Now(),
		wake:   make(chan struct{}, 1),
		pongs:  make(chan []byte, 4),
		quit:   make(chan struct{}),
	}
}

// notify tells the writer that there is something to write. It never blocks.
func (c *client) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// serve returns when the connection is over and nothing uses it any more.
func (c *client) serve() {
	log := c.hub.opts.Log.With("addr", c.addr)
	log.Debug("client joined")
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	why := c.read()
	switch {
	case c.dismissed.Load():
		why = goingAway
	case c.stuck.Load():
		why = noProgress
	case why.code != 0:
		sayGoodbye(c.conn, why)
		awaitGoodbye(c.conn)
	}
	close(c.quit)
	c.cut() // frees the writer, if the client takes nothing
	<-written
	c.hub.metrics.closed.WithLabelValues(why.label()).Inc()
	log.Debug("client left", "code", why.code, "reason", why.text, "after", time.Since(c.joined).Round(time.Millisecond))
}

// dismiss makes the writer tell the client to go elsewhere.
func (c *client) dismiss() {
	c.dismissed.Store(true)
	c.notify()
}

// cut ends the connection at once. The reader and the writer see an error.
func (c *client) cut() { c.conn.NetConn().Close() }

// read takes the client's messages until one of them, or the connection's end, is a reason to stop.
func (c *client) read() reason {
	c.conn.SetReadLimit(maxMessage)
	patience := 2*c.hub.opts.PingInterval + c.hub.opts.PingInterval/2
	alive := func(string) error { return c.conn.SetReadDeadline(time.Now().Add(patience)) }
	c.conn.SetPongHandler(alive)
	for {
		if alive("") != nil {
			return left
		}
		kind, r, err := c.conn.NextReader()
		if err != nil {
			return whyReadFailed(err)
		}
		if !c.budget.Allow() {
			return tooManyMessages
		}
		if kind != websocket.TextMessage {
			return noBinary
		}
		// The read limit counts bytes on the wire; a compressed message can hold a thousand times as many.
		message, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
		if err != nil {
			return whyReadFailed(err)
		}
		if len(message) > maxMessage {
			return tooLarge
		}
		c.answer(message)
	}
}

func whyReadFailed(err error) reason {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return noProgress
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		return tooLarge
	}
	return left
}

// answer answers a ping. Anything else is ignored: it is small and, by the budget, rare.
func (c *client) answer(message []byte) {
	pong, ok := pongTo(message)
	if !ok {
		c.hub.metrics.ignored.Inc()
		return
	}
	select {
	case c.pongs <- pong:
	default:
	}
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

// write sends the newest frame whenever there is one, and pings, until the reader or an error ends it.
func (c *client) write() {
	defer c.cut() // frees the reader
	ping := time.NewTicker(c.hub.opts.PingInterval)
	defer ping.Stop()
	var sent *feed.Frame
	for c.deadline() == nil {
		if c.dismissed.Load() {
			sayGoodbye(c.conn, goingAway)
			<-c.quit // the reader hears the answer, or the drain's end
			return
		}
		wake, newest := c.wake, c.hub.latest.Load()
		if newest != sent {
			wake = always // but a client that is busy with frames must still hear pings and pongs
		}
		var err error
		select {
		case pong := <-c.pongs:
			err = c.conn.WriteMessage(websocket.TextMessage, pong)
		case <-ping.C:
			err = c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(c.hub.opts.WriteTimeout))
		case <-c.quit:
			return
		case <-wake:
			sent, err = c.writeNewest(sent)
		}
		if errors.Is(err, websocket.ErrCloseSent) {
			<-c.quit // the reader has said goodbye and waits for the answer: cutting now would take the frame along
			return
		}
		if err != nil {
			timeout, ok := errors.AsType[net.Error](err)
			c.stuck.Store(ok && timeout.Timeout())
			return
		}
	}
}

// always is a wake that never has to be waited for.
var always = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// writeNewest writes the newest frame if it is not the one sent last, and returns it.
func (c *client) writeNewest(sent *feed.Frame) (*feed.Frame, error) {
	newest := c.hub.latest.Load()
	if newest == sent {
		return sent, nil
	}
	c.countSkipped(sent, newest)
	c.hub.metrics.frames.Inc()
	return newest, c.conn.WritePreparedMessage(newest.Plain)
}

func (c *client) deadline() error {
	return c.conn.SetWriteDeadline(time.Now().Add(c.hub.opts.WriteTimeout))
}

func (c *client) countSkipped(sent, latest *feed.Frame) {
	if sent == nil || sent.Snapshot.Epoch != latest.Snapshot.Epoch {
		return
	}
	if skipped := latest.Snapshot.Seq - sent.Snapshot.Seq; skipped > 1 {
		c.hub.metrics.skipped.Add(float64(skipped - 1))
	}
}
