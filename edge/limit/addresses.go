// Package limit bounds what one client address may take: connections, and handshakes a minute.
package limit

import (
	"context"
	"net/netip"
	"sync"

	"sightglass/edge/rejection"
)

// Addresses bounds how many connections one address may hold at a time. The zero value rejects all.
type Addresses struct {
	most int

	mu    sync.Mutex
	held  map[netip.Addr]int
	total int
}

// NewAddresses allows most connections for each IPv4 address or IPv6 /64.
func NewAddresses(most int) *Addresses {
	return &Addresses{most: most, held: make(map[netip.Addr]int)}
}

// Acquire takes one of the address's connections. It returns rejection.Address if none is left; if None, Release must
// follow. It never waits.
func (a *Addresses) Acquire(_ context.Context, addr netip.Addr) rejection.Reason {
	k := key(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held[k] >= a.most {
		return rejection.Address
	}
	a.held[k]++
	a.total++
	return rejection.None
}

// Release returns what Acquire took.
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
