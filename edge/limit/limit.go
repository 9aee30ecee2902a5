// Package limit counts connections by client address.
package limit

import (
	"net/netip"
	"sync"
)

// prefix6 is the network that one IPv6 client holds: providers hand out at least a /64, so single addresses would
// limit nobody.
const prefix6 = 64

// Addresses bounds how many connections one address may hold at a time. The zero value refuses everyone.
type Addresses struct {
	most int
	mu   sync.Mutex
	held map[netip.Addr]int
}

// NewAddresses allows most connections for each IPv4 address or IPv6 /64.
func NewAddresses(most int) *Addresses {
	return &Addresses{most: most, held: make(map[netip.Addr]int)}
}

// Acquire takes one of the address's connections. It reports false if none is left; if true, Release must follow.
func (a *Addresses) Acquire(addr netip.Addr) bool {
	k := key(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held[k] >= a.most {
		return false
	}
	a.held[k]++
	return true
}

// Release gives back what Acquire took.
func (a *Addresses) Release(addr netip.Addr) {
	k := key(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
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

func key(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr
	}
	p, err := addr.Prefix(prefix6)
	if err != nil {
		return addr // the zero address: unknown clients share one count
	}
	return p.Addr()
}
