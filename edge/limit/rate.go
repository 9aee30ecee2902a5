package limit

import (
	"net/netip"
	"sync"
	"time"
)

// maxGeneration bounds the addresses in a generation of a Rate's buckets: two full generations use 5 MB. A count per
// address does not stop a client that controls more networks than that.
const maxGeneration = 1 << 16

// Rate bounds how often one address may do something. It keeps a token bucket for each address: a minute's allowance may be
// used at once, and is refilled steadily.
type Rate struct {
	interval time.Duration // between two uses at the steady rate
	burst    time.Duration // how far ahead of the steady rate an address may be

	// A bucket is one time: when it will be full again, as if each use took an interval. Full buckets are forgotten by
	// generations: those used since the last rotation, and those used in the generation before.
	mu                sync.Mutex
	rotatedAt         time.Time
	current, previous map[netip.Addr]time.Time
}

// NewRate allows perMinute for each IPv4 address or IPv6 /64.
func NewRate(perMinute int) *Rate {
	interval := time.Minute / time.Duration(perMinute)
	return &Rate{
		interval: interval, burst: interval * time.Duration(perMinute-1),
		current: make(map[netip.Addr]time.Time),
	}
}

// Take counts one use at the time now. It returns 0, or how long the address must wait because this use is over the limit.
func (r *Rate) Take(now time.Time, addr netip.Addr) time.Duration {
	k := key(addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.rotatedAt) > r.burst+r.interval || len(r.current) >= maxGeneration { // all previous buckets are full, or it is a flood
		r.previous, r.current, r.rotatedAt = r.current, make(map[netip.Addr]time.Time), now
	}
	full, ok := r.current[k]
	if !ok {
		full = r.previous[k]
	}
	if full.Before(now) {
		full = now
	}
	if wait := full.Sub(now) - r.burst; wait > 0 {
		return wait
	}
	r.current[k] = full.Add(r.interval)
	return 0
}

// Len returns the number of addresses that have a bucket.
func (r *Rate) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.current) + len(r.previous)
}
