// Package limit bounds what one client address may use: connections, and handshakes per minute.
package limit

import (
	"context"
	"net/netip"
	"sync"

	"sightglass/edge/rejection"
)

// Addresses bounds how many connections one address may hold at a time. The zero value rejects all.
type Addresses struct {
	maxPerAddress int

	mu    sync.Mutex
	held  map[netip.Addr]int
	total int
}

// NewAddresses allows maxPerAddress connections for each IPv4 address or IPv6 /64.
func NewAddresses(maxPerAddress int) *Addresses {
	return &Addresses{maxPerAddress: maxPerAddress, held: make(map[netip.Addr]int)}
}

// Acquire counts a connection of the address. It returns rejection.Address if the address is at its limit. After
// rejection.None, the caller must call Release. It never waits.
func (a *Addresses) Acquire(_ context.Context, addr netip.Addr) rejection.Reason {
	k := key(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held[k] >= a.maxPerAddress {
		return rejection.Address
	}
	a.held[k]++
	a.total++
	return rejection.None
}

// Release releases a connection that Acquire counted.
func (a *Addresses) Release(addr netip.Addr) {
	k := key(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	if a.held[k]--; a.held[k] <= 0 {
		delete(a.held, k)
	}
}

// Len returns the number of addresses that hold connections.
func (a *Addresses) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.held)
}

// Total returns the number of connections that are held.
func (a *Addresses) Total() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}
