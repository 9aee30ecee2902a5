// Package hub holds the clients: who is here, who gets what, and who must go.
//
// A client is given state, not events: it always gets the newest frame, and what it was too slow for is skipped. It
// is never queued for: what it has not taken of a frame is a reference to bytes that all share, so its memory is
// bounded by the kernel's send buffer. One that takes nothing for Options.WriteTimeout is dropped. No client waits for
// another.
//
// A client costs one goroutine, which reads, and little memory. Frames are written by the shards' goroutines, without
// waiting; only for a client that does not take a frame at once there is a second goroutine, until it has caught up.
package hub

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sightglass/edge/feed"
	"sightglass/edge/limit"
	"sightglass/edge/refusal"
	"sightglass/edge/ws"
)

// DeltaProtocol is the subprotocol of clients that want changes; the others get each snapshot whole.
const DeltaProtocol = "sightglass.delta.v1"

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
	PingInterval  time.Duration    // a client that gets nothing for so long is pinged; at two and a half of them it is gone
	WriteTimeout  time.Duration    // how long a client may take nothing
	Refused       *refusal.Counter // counts those who are turned away; may be nil
	Log           *slog.Logger
}

// A Hub is safe for concurrent use.
type Hub struct {
	opts      Options
	addresses Limiter
	metrics   *metrics
	latest    atomic.Pointer[arrival]
	shards    []*shard // each client is in one; there is one for each processor
	began     time.Time

	mu       sync.Mutex
	clients  int
	turn     int // the shard that takes the next client
	draining bool
	serving  sync.WaitGroup // connections, also those that are being refused; grows under mu, not after draining
}

// An arrival is a frame and when it was to go out.
type arrival struct {
	*feed.Frame
	at time.Time
}

// New makes a hub without clients and registers its metrics with reg. It does nothing before Run.
func New(o Options, reg prometheus.Registerer) *Hub {
	h := &Hub{opts: o, addresses: o.Limiter, metrics: newMetrics(reg), began: time.Now()}
	if h.addresses == nil {
		h.addresses = limit.NewAddresses(o.MaxPerAddress, o.Refused, refusal.Address)
	}
	for range runtime.GOMAXPROCS(0) {
		h.shards = append(h.shards, newShard(h))
	}
	return h
}

// Run gives the clients their frames and pings until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, s := range h.shards {
		running.Go(func() { s.run(ctx) })
	}
	running.Wait()
}

// clock is the time that the hub reckons with.
func (h *Hub) clock() time.Duration { return time.Since(h.began) }

// Len is the number of clients.
func (h *Hub) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clients
}

// Broadcast makes f what every client gets next. It does not wait for any of them.
func (h *Hub) Broadcast(f *feed.Frame) {
	h.latest.Store(&arrival{f, time.Now()})
	for _, s := range h.shards {
		s.notify()
	}
}

// Serve takes a connection over, with the address that it counts for, and returns. The hub closes it.
func (h *Hub) Serve(conn *ws.Conn, addr netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining { // it came just before the listener closed
		conn.Write(ws.AppendClose(nil, goingAway.code, goingAway.text)) //nolint:errcheck // it cannot be told then
		conn.Close()
		return
	}
	h.serving.Go(func() { h.hold(conn, addr) })
}

// hold has a connection until it ends, for whatever reason.
func (h *Hub) hold(conn *ws.Conn, addr netip.Addr) {
	defer conn.Close()
	c, err := newClient(conn, addr, h)
	if err != nil {
		h.opts.Log.Error("cannot serve a connection", "err", err)
		return
	}
	defer c.survive()
	// Counted only here: a handshake that breaks before the answer is out never comes so far, and would never be released.
	if !h.addresses.Acquire(context.Background(), addr) {
		c.refuse(tooManyFromAddress)
		return
	}
	defer h.addresses.Release(addr)
	if why := h.join(c); why.code != 0 {
		c.refuse(why)
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
	case h.clients >= h.opts.MaxClients:
		h.opts.Refused.Count(refusal.Full)
		return edgeFull
	}
	h.clients++
	h.turn = (h.turn + 1) % len(h.shards)
	h.shards[h.turn].add(c)
	h.metrics.accepted.Inc()
	h.metrics.clients[c.protocol].Inc()
	return reason{}
}

func (h *Hub) leave(c *client) {
	c.shard.remove(c)
	h.metrics.clients[c.protocol].Dec()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients--
}

// Drain tells the clients to go elsewhere, one after another over the window, and takes no new ones. A client that does
// not leave within grace of being told is cut off. Drain returns when all are gone.
func (h *Hub) Drain(window, grace time.Duration) {
	clients := h.startDraining()
	begun := time.Now()
	for i, c := range clients {
		pauseUntil(begun.Add(window * time.Duration(i) / time.Duration(len(clients))))
		c.dismiss(goingAway, grace)
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

// pauseUntil waits, unless it is for so little that the next ones may as well go at once.
func pauseUntil(t time.Time) {
	const worthWaiting = 5 * time.Millisecond
	if d := time.Until(t); d > worthWaiting {
		time.Sleep(d)
	}
}
