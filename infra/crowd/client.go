package crowd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/coder/websocket"

	"sightglass/shared/snapshot"
)

// As in edge/web/static/client.js, which says why.
const (
	protocol        = "sightglass.delta.v1"
	tooManyWait     = time.Minute
	goodAfter       = time.Minute
	connectPatience = 10 * time.Second
	pingAfter       = 10 * time.Second
	pongPatience    = 5 * time.Second
	firstBackoff    = 500 * time.Millisecond
	longestBackoff  = 30 * time.Second
)

const tooMany websocket.StatusCode = 4029

// final reports whether a close code asks a client not to come back.
func final(code websocket.StatusCode) bool {
	switch code {
	case websocket.StatusProtocolError, websocket.StatusUnsupportedData, websocket.StatusInvalidFramePayloadData,
		websocket.StatusPolicyViolation, websocket.StatusMessageTooBig:
		return true
	}
	return false
}

func backoff(attempt int) time.Duration {
	most := min(longestBackoff, firstBackoff<<min(attempt, 10))
	return time.Duration(rand.Float64() * float64(most))
}

// A client is one person's dashboard.
type client struct {
	url     string
	options *websocket.DialOptions
	ended   func(why string)
	attempt int

	mu        sync.Mutex
	seen      Seen
	last      *snapshot.Snapshot // the newest
	lastAt    time.Time          // when last came
	lostAt    time.Time          // when the connection was lost; zero: it is there, or never was
	goodSince time.Time          // when the connection brought its first snapshot; zero: it has brought none
}

func newClient(url string, from netip.Addr, ended func(string)) *client {
	dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
	return &client{url: url, ended: ended, options: &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{protocol},
	}}
}

// run connects again and again until ctx ends or an edge asks it not to.
func (c *client) run(ctx context.Context) {
	for {
		err := c.connection(ctx)
		if ctx.Err() != nil {
			return
		}
		code := websocket.CloseStatus(err)
		c.ended(describe(code, err))
		wait := c.lost(code)
		if final(code) || !pause(ctx, wait) {
			return
		}
	}
}

// describe gives ends that are alike one name.
func describe(code websocket.StatusCode, err error) string {
	switch {
	case errors.As(err, new(refused)):
		return err.Error()
	case errors.Is(err, snapshot.ErrInvalid):
		return "not as the protocol has it"
	case code < 0:
		return "broken off"
	}
	return fmt.Sprintf("closed with %d", code)
}

// refused is the error of a handshake that made no WebSocket: the answer's status, or 0 if there was none.
type refused int

func (r refused) Error() string {
	if r == 0 {
		return "not answered"
	}
	return fmt.Sprintf("answered %d", int(r))
}

// connection is one, from its handshake to its end. Its error is never nil.
func (c *client) connection(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	conn.SetReadLimit(1 << 20)
	p := &pulse{conn: conn}
	p.beat()
	watching, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { p.watch(watching) })
	defer watch.Wait()
	defer conn.CloseNow()
	defer cancel()
	return c.read(ctx, conn, p)
}

// read takes what comes until the connection ends.
func (c *client) read(ctx context.Context, conn *websocket.Conn, p *pulse) error {
	var replica snapshot.Replica
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		p.beat()
		if bytes.HasPrefix(message, []byte(`{"type":"pong"`)) {
			continue
		}
		s, err := replica.Take(message)
		if err != nil {
			return err
		}
		c.take(s, time.Now())
	}
}

func (c *client) dial(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	conn, answer, err := websocket.Dial(ctx, c.url, c.options) //nolint:bodyclose // Dial sees to it
	switch {
	case err == nil:
		return conn, nil
	case answer != nil:
		return nil, refused(answer.StatusCode)
	}
	return nil, refused(0)
}

func (c *client) take(s *snapshot.Snapshot, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil && c.last.NewerThan(s) {
		c.seen.Older++
	}
	if s.NewerThan(c.last) { // and not the same again, said to be stale
		if c.last != nil {
			c.seen.Silence = max(c.seen.Silence, now.Sub(c.lastAt))
		}
		c.last, c.lastAt = s, now
	}
	if c.goodSince.IsZero() {
		c.goodSince = now
		c.back(now)
	}
	c.seen.Epoch, c.seen.Seq, c.seen.Connected = s.Epoch, s.Seq, true
}

// back ends a gap, if there was one.
func (c *client) back(now time.Time) {
	if c.lostAt.IsZero() {
		return
	}
	c.seen.Gap = max(c.seen.Gap, now.Sub(c.lostAt))
	c.seen.Reconnects++
	c.lostAt = time.Time{}
}

// lost notes a connection's end, and gives the time to wait before the next.
func (c *client) lost(code websocket.StatusCode) (wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.seen.Connected {
		c.lostAt = now
	}
	if !c.goodSince.IsZero() && now.Sub(c.goodSince) >= goodAfter {
		c.attempt = 0
	}
	c.seen.Connected, c.goodSince = false, time.Time{}
	switch {
	case final(code):
		c.seen.GivenUp = true
		return 0
	case code == tooMany:
		return tooManyWait
	}
	c.attempt++
	return backoff(c.attempt - 1)
}

// story is what the client has seen, and what it is going through now.
func (c *client) story(now time.Time) Seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.seen
	if c.last != nil {
		s.Silence = max(s.Silence, now.Sub(c.lastAt))
	}
	if !c.lostAt.IsZero() {
		s.Gap = max(s.Gap, now.Sub(c.lostAt))
	}
	return s
}
