// Package limit bounds what one client address may take: connections, and handshakes a minute.
package limit

import (
	"context"
	"net/netip"
	"sync"

	"sightglass/edge/refusal"
)

// Addresses bounds how many connections one address may hold at a time. The zero value refuses everyone.
type Addresses struct {
	most    int
	why     refusal.Reason
	refused *refusal.Counter

	mu    sync.Mutex
	held  map[netip.Addr]int
	total int
}

// NewAddresses allows most connections for each IPv4 address or IPv6 /64, and counts as why whom it refuses.
func NewAddresses(most int, refused *refusal.Counter, why refusal.Reason) *Addresses {
	return &Addresses{most: most, why: why, refused: refused, held: make(map[netip.Addr]int)}
}

// Acquire takes one of the address's connections. It reports false if none is left; if true, Release must follow. It
// never waits.
func (a *Addresses) Acquire(_ context.Context, addr netip.Addr) bool {
	if !a.take(key(addr)) {
		a.refused.Count(a.why)
		return false
	}
	return true
}

func (a *Addresses) take(k netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held[k] >= a.most {
		return false
	}
	a.held[k]++
	a.total++
	return true
}

// Release gives back what Acquire took.
func (a *Addresses) Release(addr netip.Addr) {
	k := key(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	if a.held[k]--; a.held[k] <= 0 {
		delete(a.held, k)
	}
}

// Len is the number of addresses that hold connections.
func (a *Addresses) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.held)
}

// Total is the number of connections that are held.
func (a *Addresses) Total() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}
