package hub

import (
	"context"
	"math"
	"sync"
	"time"
)

// batchSize is the number of clients that a shard visits per lock: enough that locking costs nothing, few enough that a
// client that joins or leaves waits for at most a millisecond or two.
const batchSize = 64

// sweepsPerPing is the number of checks for silent clients per ping interval.
const sweepsPerPing = 8

// A shard holds the clients that one goroutine writes to.
type shard struct {
	hub      *Hub
	news     chan struct{} // capacity 1: there is a newer frame
	counters counters      // of the goroutine
	several  [batchSize]*client

	mu      sync.Mutex
	clients []*client
}

func newShard(h *Hub) *shard { return &shard{hub: h, news: make(chan struct{}, 1)} }

// notify signals that there is a newer frame. It never blocks.
func (s *shard) notify() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *shard) add(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.shard, c.place = s, len(s.clients)
	s.clients = append(s.clients, c)
}

// remove moves the last client into the place of the removed one.
func (s *shard) remove(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.clients) - 1
	s.clients[c.place] = s.clients[last]
	s.clients[c.place].place = c.place
	s.clients[last] = nil
	s.clients = s.clients[:last]
}

func (s *shard) appendTo(clients []*client) []*client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(clients, s.clients...)
}

// run writes each newer frame to the clients and checks for silent ones, until ctx ends.
func (s *shard) run(ctx context.Context) {
	sweep := time.NewTicker(s.hub.opts.PingInterval / sweepsPerPing)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.news:
			s.fanOut()
		case <-sweep.C:
			s.each((*client).checkSilence)
		}
	}
}

func (s *shard) fanOut() {
	arrived := s.hub.latest.Load().arrived
	s.each(func(c *client, now time.Duration) { c.offer(now, &s.counters) })
	s.hub.metrics.add(&s.counters)
	s.hub.metrics.fanOut.Observe(time.Since(arrived).Seconds())
}

// each calls f for every client that stays in the shard during the call. It iterates from the last place to the first:
// a client that is moved into the place of a removed one has been visited, or still will be.
func (s *shard) each(f func(*client, time.Duration)) {
	for end := math.MaxInt; end > 0; {
		var several []*client
		several, end = s.before(end)
		now := s.hub.clock()
		for _, c := range several {
			f(c, now)
		}
	}
	clear(s.several[:]) // else clients that left would stay referenced
}

// before returns the last clients before a place, at most batchSize, and the place of the first of them.
func (s *shard) before(end int) ([]*client, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end = min(end, len(s.clients))
	begin := max(0, end-batchSize)
	return s.several[:copy(s.several[:], s.clients[begin:end])], begin
}
