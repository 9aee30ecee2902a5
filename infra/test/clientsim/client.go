package clientsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/coder/websocket"

	"sightglass/shared/client"
	"sightglass/shared/contract"
)

// A simulated client stands for one person's dashboard.
type simulated struct {
	options client.Options
	ended   func(reason string)

	mu        sync.Mutex
	seen      Seen
	last      *contract.Snapshot // the newest received
	lastAt    time.Time          // when last was received
	lostAt    time.Time          // when the connection was lost; zero while there is one, and before the first
	delivered *contract.Snapshot // the last that the client package delivered
}

func newSimulated(url string, from netip.Addr, ended func(string)) *simulated {
	dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
	c := &simulated{ended: ended}
	c.options = client.Options{
		URL: url, HTTPClient: &http.Client{Transport: transport}, Received: c.received,
		Disconnected: func(reason error, _ time.Duration) { c.disconnected(reason, false) },
	}
	return c
}

// run follows the stream until ctx ends or an edge asks the client not to reconnect.
func (c *simulated) run(ctx context.Context) {
	if err := client.Run(ctx, c.options, c.deliver); ctx.Err() == nil {
		c.disconnected(err, true)
	}
}

// received measures what edges send, including what the client package does not deliver.
func (c *simulated) received(s *contract.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.last != nil && c.last.NewerThan(s) {
		c.seen.Older++
	}
	if s.NewerThan(c.last) { // and not the same again, marked stale
		if c.last != nil {
			c.seen.Silence = max(c.seen.Silence, now.Sub(c.lastAt))
		}
		c.last, c.lastAt = s, now
	}
	if !c.lostAt.IsZero() {
		c.seen.Gap = max(c.seen.Gap, now.Sub(c.lostAt))
		c.seen.Reconnects++
		c.lostAt = time.Time{}
	}
	c.seen.Epoch, c.seen.Seq, c.seen.Connected = s.Epoch, s.Seq, true
}

// deliver checks that the client package keeps to the order within an epoch, whatever edges send.
func (c *simulated) deliver(s *contract.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.delivered != nil && s.Epoch == c.delivered.Epoch && s.Seq < c.delivered.Seq {
		c.seen.Disordered++
	}
	c.delivered = s
}

// disconnected notes the end of a connection, or of an attempt to connect.
func (c *simulated) disconnected(reason error, final bool) {
	c.ended(describe(reason))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen.Connected {
		c.lostAt = time.Now()
	}
	c.seen.Connected, c.seen.GivenUp = false, final
}

// describe gives ends that are alike one name.
func describe(reason error) string {
	if handshake, ok := errors.AsType[*client.HandshakeError](reason); ok {
		if handshake.Status == 0 {
			return "not answered"
		}
		return fmt.Sprintf("answered %d", handshake.Status)
	}
	code := websocket.CloseStatus(reason)
	switch {
	case errors.Is(reason, contract.ErrInvalidSnapshot):
		return "not as the protocol has it"
	case code < 0:
		return "broken off"
	}
	return fmt.Sprintf("closed with %d", code)
}

// now is what the client has seen, including a gap and a silence that last.
func (c *simulated) now() Seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, now := c.seen, time.Now()
	if c.last != nil {
		s.Silence = max(s.Silence, now.Sub(c.lastAt))
	}
	if !c.lostAt.IsZero() {
		s.Gap = max(s.Gap, now.Sub(c.lostAt))
	}
	return s
}
