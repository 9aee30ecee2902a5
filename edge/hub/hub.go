// Package hub holds an edge's stream connections and writes every snapshot to them.
//
// A client gets state, not events: always the newest snapshot; the ones that it was too slow for are skipped. Nothing is
// queued for a client: what it has not accepted of a frame is a reference to bytes that all share, so its memory is
// bounded by the kernel's send buffer. A client that accepts nothing for Options.WriteTimeout is disconnected. No client
// waits for another.
//
// A client costs one goroutine, which reads, and little memory. Frames are written by the shards' goroutines, without
// waiting; only a client that does not accept a frame at once gets a second goroutine, until it has caught up.
//
// The hub knows no protocol. What is on the wire is a codec's; what a client sends is its session's.
package hub

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sightglass/edge/feed"
	"sightglass/edge/limit"
	"sightglass/edge/rejection"
)

// A Limiter bounds connections by client address. It may ask others, but must not take long, and is safe for concurrent
// use. If it does not know, it lets the client in.
type Limiter interface {
	// Acquire takes one of the address's connections. If the reason is rejection.None, Release must follow.
	Acquire(ctx context.Context, addr netip.Addr) rejection.Reason
	// Release returns what Acquire took. It does not wait.
	Release(addr netip.Addr)
}

// Options bound what clients may do.
type Options struct {
	MaxPerAddress int                // connections for an IPv4 address or an IPv6 /64
	Limiter       Limiter            // bounds connections by address instead; nil: MaxPerAddress, on this edge alone
	MaxClients    int                // connections in all
	PingInterval  time.Duration      // a client that gets nothing for so long is pinged; at two and a half of them it is gone
	WriteTimeout  time.Duration      // how long a client may accept nothing
	Rejections    *rejection.Counter // may be nil
	Log           *slog.Logger
}

// A Hub is safe for concurrent use.
type Hub struct {
	opts      Options
	addresses Limiter
	metrics   *metrics
	latest    atomic.Pointer[frame]
	shards    []*shard // each client is in one; there is one for each processor
	startedAt time.Time

	mu       sync.Mutex
	clients  int
	turn     int // the shard that takes the next client
	draining bool
	serving  sync.WaitGroup // connections, also those that are being rejected; grows under mu, not after draining
}

// New makes a hub without clients and registers its metrics with reg. It does nothing before Run.
func New(o Options, reg prometheus.Registerer) *Hub {
	h := &Hub{opts: o, addresses: o.Limiter, metrics: newMetrics(reg), startedAt: time.Now()}
	if h.addresses == nil {
		h.addresses = limit.NewAddresses(o.MaxPerAddress)
	}
	for range runtime.GOMAXPROCS(0) {
		h.shards = append(h.shards, newShard(h))
	}
	return h
}

// Run writes frames and pings to the clients until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, s := range h.shards {
		running.Go(func() { s.run(ctx) })
	}
	running.Wait()
}

// clock returns the hub's monotonic time.
func (h *Hub) clock() time.Duration { return time.Since(h.startedAt) }

// Len is the number of clients.
func (h *Hub) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clients
}

// Broadcast makes u the next update for every client. It does not wait for any of them.
func (h *Hub) Broadcast(u *feed.Update) { h.broadcast(&frame{Update: u, arrived: time.Now()}) }

func (h *Hub) broadcast(f *frame) {
	h.latest.Store(f)
	for _, s := range h.shards {
		s.notify()
	}
}

// serve takes a connection over, with the address that it counts for, and returns. The hub closes it.
func (h *Hub) serve(conn net.Conn, addr netip.Addr, codec *codec, s session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining { // it came just before the listener closed
		conn.Write(s.rejection(goingAway)) //nolint:errcheck // the client may be gone
		conn.Close()
		return
	}
	h.serving.Go(func() {
		defer conn.Close()
		c, err := newClient(conn, addr, h, codec, s)
		if err != nil {
			h.opts.Log.Error("cannot serve a connection", "err", err)
			return
		}
		defer c.recoverPanic()
		// Counted only here: a handshake that breaks before the response is out never comes so far, and would never be
		// released.
		if why := h.addresses.Acquire(context.Background(), addr); why != rejection.None {
			h.opts.Rejections.Count(why)
			c.reject(tooManyFromAddress)
			return
		}
		defer h.addresses.Release(addr)
		if r := h.join(c); r.code != 0 {
			c.reject(r)
			return
		}
		defer h.leave(c)
		c.serve()
	})
}

// join reports why the client may not, or a reason without a code.
func (h *Hub) join(c *client) reason {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.draining:
		h.opts.Rejections.Count(rejection.Draining)
		return goingAway
	case h.clients >= h.opts.MaxClients:
		h.opts.Rejections.Count(rejection.Full)
		return edgeFull
	}
	h.clients++
	h.turn = (h.turn + 1) % len(h.shards)
	h.shards[h.turn].add(c)
	h.metrics.accepted.Inc()
	h.metrics.clients[c.codec.index].Inc()
	return reason{}
}

func (h *Hub) leave(c *client) {
	c.shard.remove(c)
	h.metrics.clients[c.codec.index].Dec()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients--
}

// Drain closes the clients' connections one after another over the window, and accepts no new ones. A client that does
// not close its side within the grace is cut off. Drain returns when all are gone.
func (h *Hub) Drain(window, grace time.Duration) {
	clients := h.startDraining()
	began := time.Now()
	for i, c := range clients {
		// Short waits are skipped: a sleep would cost more than it spreads.
		const worthWaiting = 5 * time.Millisecond
		if d := time.Until(began.Add(window * time.Duration(i) / time.Duration(len(clients)))); d > worthWaiting {
			time.Sleep(d)
		}
		c.close(goingAway, grace)
	}
	h.serving.Wait()
}

func (h *Hub) startDraining() (clients []*client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
	for _, s := range h.shards {
		clients = s.appendTo(clients)
	}
	return clients
}
