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

// A simulatedClient is one client of the delta protocol, such as a dashboard.
type simulatedClient struct {
	options client.Options
	onEnd   func(reason string) // called when a connection, or an attempt to connect, has ended

	mu        sync.Mutex
	seen      Seen
	newest    *contract.Snapshot // newest snapshot received
	newestAt  time.Time          // time of its arrival
	lostAt    time.Time          // time of the connection's loss; zero while connected and before the first connection
	delivered *contract.Snapshot // last snapshot that shared/client delivered
}

func newSimulatedClient(url string, from netip.Addr, onEnd func(string)) *simulatedClient {
	dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
	c := &simulatedClient{onEnd: onEnd}
	c.options = client.Options{
		URL: url, HTTPClient: &http.Client{Transport: transport}, Received: c.received,
		Disconnected: func(reason error, _ time.Duration) { c.disconnected(reason, false) },
	}
	return c
}

// run follows the stream until ctx ends or an edge closes the connection with a code that forbids reconnecting.
func (c *simulatedClient) run(ctx context.Context) {
	if err := client.Run(ctx, c.options, c.deliver); ctx.Err() == nil {
		c.disconnected(err, true)
	}
}

// received records a snapshot that an edge sent, including those that shared/client does not deliver.
func (c *simulatedClient) received(s *contract.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.newest != nil && c.newest.NewerThan(s) {
		c.seen.Older++
	}
	if s.NewerThan(c.newest) { // not the same snapshot with status stale
		if c.newest != nil {
			c.seen.Silence = max(c.seen.Silence, now.Sub(c.newestAt))
		}
		c.newest, c.newestAt = s, now
	}
	if !c.lostAt.IsZero() {
		c.seen.Gap = max(c.seen.Gap, now.Sub(c.lostAt))
		c.seen.Reconnects++
		c.lostAt = time.Time{}
	}
	c.seen.Epoch, c.seen.Seq, c.seen.Connected = s.Epoch, s.Seq, true
}

// deliver checks that shared/client delivers snapshots in the order of their epoch.
func (c *simulatedClient) deliver(s *contract.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.delivered != nil && s.Epoch == c.delivered.Epoch && s.Seq < c.delivered.Seq {
		c.seen.Disordered++
	}
	c.delivered = s
}

// disconnected records the end of a connection, or of an attempt to connect.
func (c *simulatedClient) disconnected(reason error, final bool) {
	c.onEnd(describe(reason))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen.Connected {
		c.lostAt = time.Now()
	}
	c.seen.Connected, c.seen.GivenUp = false, final
}

// describe returns a short description, which is the same for similar reasons.
func describe(reason error) string {
	if handshake, ok := errors.AsType[*client.HandshakeError](reason); ok {
		if handshake.Status == 0 {
			return "no handshake response"
		}
		return fmt.Sprintf("answered %d", handshake.Status)
	}
	code := websocket.CloseStatus(reason)
	switch {
	case errors.Is(reason, contract.ErrInvalidSnapshot):
		return "invalid message"
	case code < 0:
		return "connection lost"
	}
	return fmt.Sprintf("closed with %d", code)
}

// current returns what the client has measured, including a gap and a silence that have not ended.
func (c *simulatedClient) current() Seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, now := c.seen, time.Now()
	if c.newest != nil {
		s.Silence = max(s.Silence, now.Sub(c.newestAt))
	}
	if !c.lostAt.IsZero() {
		s.Gap = max(s.Gap, now.Sub(c.lostAt))
	}
	return s
}
