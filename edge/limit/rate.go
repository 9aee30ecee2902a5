package limit

import (
	"net/netip"
	"sync"
	"time"

	"sightglass/edge/refusal"
)

// generation is how many addresses a Rate remembers before it forgets those that have been quiet for longest: twice as
// many are 5 MB. Whoever has so many networks at hand is not stopped by a count for each.
const generation = 1 << 16

// Rate bounds how often one address may do something. It has a bucket for each: a minute's worth may come at once, after
// that as many a minute as are allowed.
type Rate struct {
	gap     time.Duration // between two, for one who does it steadily
	burst   time.Duration // how far ahead of that one may be
	refused *refusal.Counter
	why     refusal.Reason

	// A bucket is one time: when it will be full again, as if each use took a gap. Buckets that are full are forgotten,
	// by generations: those used since the last turn, and those used in the one before.
	mu         sync.Mutex
	turned     time.Time
	young, old map[netip.Addr]time.Time
}

// NewRate allows perMinute for each IPv4 address or IPv6 /64, and counts as why what it refuses.
func NewRate(perMinute int, refused *refusal.Counter, why refusal.Reason) *Rate {
	gap := time.Minute / time.Duration(perMinute)
	return &Rate{
		gap: gap, burst: gap * time.Duration(perMinute-1), refused: refused, why: why,
		young: make(map[netip.Addr]time.Time),
	}
}

// Take counts one use at the time now. It gives how long the address must wait if this one is refused, or 0.
func (r *Rate) Take(now time.Time, addr netip.Addr) time.Duration {
	wait := r.take(now, key(addr))
	if wait > 0 {
		r.refused.Count(r.why)
	}
	return wait
}

func (r *Rate) take(now time.Time, k netip.Addr) time.Duration {
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
