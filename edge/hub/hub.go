// Package hub holds the clients: who is here, who gets what, and who must go.
//
// A client is given state, not events: it always gets the newest frame, and what it was too slow for is skipped. It
// is never queued for, so its memory is bounded by the kernel's send buffer. One that takes nothing for
// Options.WriteTimeout is dropped. No client waits for another.
package hub

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/edge/feed"
	"sightglass/edge/limit"
	"sightglass/edge/refusal"
)

// A Limiter bounds connections by client address. It may ask others, but must not take long, and is safe for concurrent
// use. If it does not know, it lets the client in.
type Limiter interface {
	// Acquire takes one of the address's connections. It reports false if none is left; if true, Release must follow.
	Acquire(ctx context.Context, addr netip.Addr) bool
	// Release gives back what Acquire took. It does not wait.
	Release(addr netip.Addr)
}

// Options bound what clients may do.
type Options struct {
	MaxPerAddress int              // connections for an IPv4 address or an IPv6 /64
	Limiter       Limiter          // bounds connections by address instead; nil: MaxPerAddress, on this edge alone
	MaxClients    int              // connections in all
	PingInterval  time.Duration    // between pings to a client; it is gone if it answers none in over two of them
	WriteTimeout  time.Duration    // how long a client may take nothing
	Refused       *refusal.Counter // counts those who are turned away; may be nil
	Log           *slog.Logger
}

// A Hub is safe for concurrent use.
type Hub struct {
	opts      Options
	addresses Limiter
	metrics   *metrics
	latest    atomic.Pointer[feed.Frame]

	mu       sync.Mutex
	clients  map[*client]struct{}
	draining bool
	empty    chan struct{} // closed when draining and the last client has left
}

// New makes a hub without clients and registers its metrics with reg.
func New(o Options, reg prometheus.Registerer) *Hub {
	h := &Hub{
		opts:      o,
		addresses: o.Limiter,
		clients:   make(map[*client]struct{}),
		empty:     make(chan struct{}),
	}
	if h.addresses == nil {
		h.addresses = limit.NewAddresses(o.MaxPerAddress, o.Refused, refusal.Address)
	}
	h.metrics = newMetrics(reg, h)
	return h
}

// Len is the number of clients.
func (h *Hub) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients)
}

// Broadcast makes f what every client gets next. It does not wait for any of them.
func (h *Hub) Broadcast(f *feed.Frame) {
	h.latest.Store(f)
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.clients {
		c.notify()
	}
}

// Serve holds a connection until it ends, for whatever reason, and closes it. addr is the client's, by which it is
// counted. It must be called by the goroutine that the connection was handed to: the server takes the connection's
// memory back when that returns.
func (h *Hub) Serve(conn *websocket.Conn, addr netip.Addr) {
	defer conn.Close()
	// Counted only here: a handshake that breaks before the answer is out never comes so far, and would never be released.
	if !h.addresses.Acquire(context.Background(), addr) {
		h.refuse(conn, addr, tooManyFromAddress)
		return
	}
	defer h.addresses.Release(addr)
	c := newClient(conn, addr, h)
	if why := h.join(c); why.code != 0 {
		h.refuse(conn, addr, why)
		return
	}
	defer h.leave(c)
	c.serve()
}

// join reports why the client may not, or a reason without a code.
func (h *Hub) join(c *client) reason {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.draining:
		h.opts.Refused.Count(refusal.Draining)
		return goingAway
	case len(h.clients) >= h.opts.MaxClients:
		h.opts.Refused.Count(refusal.Full)
		return edgeFull
	}
	h.clients[c] = struct{}{}
	h.metrics.accepted.Inc()
	return reason{}
}

func (h *Hub) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c)
	if h.draining && len(h.clients) == 0 {
		close(h.empty)
	}
}

// refuse accepts the WebSocket only to say why not: a browser is not told of a refused handshake's reason.
func (h *Hub) refuse(conn *websocket.Conn, addr netip.Addr, why reason) {
	h.metrics.closed.WithLabelValues(why.label()).Inc()
	h.opts.Log.Debug("refused a client", "addr", addr, "code", why.code, "reason", why.text)
	sayGoodbye(conn, why)
	awaitGoodbye(conn)
}

// Drain tells every client to go elsewhere and takes no new ones. It returns when all have left, or when ctx ends;
// then the rest are cut off.
func (h *Hub) Drain(ctx context.Context) {
	clients := h.startDraining()
	for _, c := range clients {
		c.dismiss()
	}
	if len(clients) == 0 {
		return
	}
	select {
	case <-h.empty:
	case <-ctx.Done():
		h.opts.Log.Warn("some clients did not leave in time and are cut off", "clients", h.Len())
		for _, c := range clients {
			c.cut()
		}
		<-h.empty
	}
}

func (h *Hub) startDraining() []*client {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
	clients := make([]*client, 0, len(h.clients))
	for c := range h.clients {
		clients = append(clients, c)
	}
	return clients
}
