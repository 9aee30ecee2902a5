// Package hub holds an edge's stream connections and writes every snapshot to them.
//
// Clients get state, not events: each gets the newest snapshot, and skips those that it was too slow for. There is no
// queue per client. The unsent rest of a frame is a reference to bytes that all clients share, so the kernel's send
// buffer bounds a client's memory. A client that accepts nothing for Options.WriteTimeout is disconnected. No client
// waits for another.
//
// A client costs one goroutine, which reads, and little memory. The shards' goroutines write frames without blocking.
// Only a client that does not accept a frame at once gets a second goroutine, until it has caught up.
//
// The hub does not depend on a protocol: codecs encode snapshots, and sessions handle the clients' input.
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

// A Limiter bounds connections by client address. It may query a shared store, but must respond quickly, and accepts
// the connection if it cannot decide. It is safe for concurrent use.
type Limiter interface {
	// Acquire counts a connection of the address. If it returns rejection.None, the caller must call Release.
	Acquire(ctx context.Context, addr netip.Addr) rejection.Reason
	// Release releases a connection that Acquire counted. It does not wait.
	Release(addr netip.Addr)
}

// Options configure a Hub.
type Options struct {
	MaxPerAddress int                // connections for an IPv4 address or an IPv6 /64
	Limiter       Limiter            // replaces the limit by address on this edge alone; nil: MaxPerAddress
	MaxClients    int                // connections in total
	PingInterval  time.Duration      // ping clients that were sent nothing for this long, and disconnect them after 2.5 times as long without input
	WriteTimeout  time.Duration      // disconnect clients that accept no data for this long
	Rejections    *rejection.Counter // may be nil
	Log           *slog.Logger
}

// A Hub holds the stream connections. It is safe for concurrent use.
type Hub struct {
	opts      Options
	addresses Limiter
	metrics   *metrics
	latest    atomic.Pointer[frame]
	shards    []*shard // one per processor; each client is in one
	startedAt time.Time

	mu       sync.Mutex
	clients  int
	turn     int // index of the shard of the newest client
	draining bool
	serving  sync.WaitGroup // connections, including those being rejected; grows under mu, and not after draining
}

// New returns a hub without clients and registers its metrics with reg. Run must be running to write snapshots.
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

// Len returns the number of clients.
func (h *Hub) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clients
}

// Broadcast makes u the next update for every client. It does not wait for any client.
func (h *Hub) Broadcast(u *feed.Update) { h.broadcast(&frame{Update: u, arrived: time.Now()}) }

func (h *Hub) broadcast(f *frame) {
	h.latest.Store(f)
	for _, s := range h.shards {
		s.notify()
	}
}

// serve takes over a connection and returns. The limit of addr applies. The hub closes the connection.
func (h *Hub) serve(conn net.Conn, addr netip.Addr, codec *codec, s session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining { // accepted just before the listener closed
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
		// The connection is counted only here: a handshake that breaks before its response is sent does not get here, and
		// would never be released.
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

// join adds the client to a shard and returns a reason without a code, or returns why the client may not join.
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
// not close its side within the grace is disconnected. Drain returns when all connections are closed.
func (h *Hub) Drain(window, grace time.Duration) {
	h.mu.Lock()
	h.draining = true
	var clients []*client
	for _, s := range h.shards {
		clients = s.appendTo(clients)
	}
	h.mu.Unlock()
	began := time.Now()
	for i, c := range clients {
		// Shorter waits are skipped: the sleep would take longer than the wait.
		const minSleep = 5 * time.Millisecond
		if d := time.Until(began.Add(window * time.Duration(i) / time.Duration(len(clients)))); d > minSleep {
			time.Sleep(d)
		}
		c.close(goingAway, grace)
	}
	h.serving.Wait()
}
