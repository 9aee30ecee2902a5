package limit

import (
	"net/netip"
	"sync"
	"time"
)

// generation is how many addresses a Rate remembers before it forgets those that were idle for longest: twice as many are
// 5 MB. A client that controls so many networks is not stopped by a count for each.
const generation = 1 << 16

// Rate bounds how often one address may do something. It has a bucket for each: a minute's worth may come at once, after
// that as many a minute as are allowed.
type Rate struct {
	gap   time.Duration // between two uses at a steady rate
	burst time.Duration // how far ahead of the steady rate an address may be

	// A bucket is one time: when it will be full again, as if each use took a gap. Buckets that are full are forgotten,
	// by generations: those used since the last turn, and those used in the one before.
	mu         sync.Mutex
	turned     time.Time
	young, old map[netip.Addr]time.Time
}

// NewRate allows perMinute for each IPv4 address or IPv6 /64.
func NewRate(perMinute int) *Rate {
	gap := time.Minute / time.Duration(perMinute)
	return &Rate{
		gap: gap, burst: gap * time.Duration(perMinute-1),
		young: make(map[netip.Addr]time.Time),
	}
}

// Take counts one use at the time now. It returns 0, or how long the address must wait because this use is over the limit.
func (r *Rate) Take(now time.Time, addr netip.Addr) time.Duration {
	k := key(addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	full, ok := r.young[k]
	if !ok {
		full = r.old[k]
	}
	if full.Before(now) {
		full = now
	}
	if wait := full.Sub(now) - r.burst; wait > 0 {
		return wait
	}
	r.young[k] = full.Add(r.gap)
	return 0
}

// forget begins a new generation when all buckets of the old one are full again, or when the young one is too many.
func (r *Rate) forget(now time.Time) {
	if now.Sub(r.turned) <= r.burst+r.gap && len(r.young) < generation {
		return
	}
	r.old, r.young, r.turned = r.young, make(map[netip.Addr]time.Time), now
}

// Len is the number of addresses that are remembered.
func (r *Rate) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.young) + len(r.old)
}
