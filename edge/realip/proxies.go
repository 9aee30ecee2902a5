// Package realip determines the address of a client behind proxies.
//
// A header is only as trustworthy as its writer. The peer of the connection wrote the last entry, the host named there wrote
// the entry before, and so on. So a header is read from its right end while the writer is a trusted proxy. Entries further
// left may be forged by the client.
package realip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// The shortest prefixes that may be trusted: 10.0.0.0/8 is the largest network of one operator, and no operator has a /16 of
// IPv6. A broader network is a mistake that would let strangers choose their address.
const (
	minBits4 = 8
	minBits6 = 16
)

// Proxies are the networks whose headers are trusted. The zero value trusts none.
type Proxies struct{ networks []netip.Prefix }

// ParseProxies parses addresses and CIDRs. Its error names every invalid one.
func ParseProxies(list []string) (Proxies, error) {
	var p Proxies
	var wrong []error
	for _, entry := range list {
		network, err := parseNetwork(strings.TrimSpace(entry))
		p.networks, wrong = append(p.networks, network), append(wrong, err)
	}
	if err := errors.Join(wrong...); err != nil {
		return Proxies{}, err
	}
	return p, nil
}

func parseNetwork(entry string) (netip.Prefix, error) {
	if !strings.Contains(entry, "/") {
		addr, ok := parseAddr(entry)
		if !ok {
			return netip.Prefix{}, fmt.Errorf("%q: want an address or a CIDR, such as 192.0.2.1 or 10.1.0.0/16", entry)
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(entry)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q: want an address or a CIDR, such as 192.0.2.1 or 10.1.0.0/16", entry)
	}
	if network != network.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q: bits after the /%d are set: want %v, or the address alone", entry,
			network.Bits(), network.Masked())
	}
	return unmap(network), checkBreadth(entry, unmap(network))
}

// unmap turns ::ffff:10.0.0.0/104 into 10.0.0.0/8: addresses are compared as IPv4.
func unmap(network netip.Prefix) netip.Prefix {
	const mapped = 96 // bits before the IPv4 address
	if network.Addr().Is4In6() {
		return netip.PrefixFrom(network.Addr().Unmap(), max(0, network.Bits()-mapped))
	}
	return network
}

func checkBreadth(entry string, network netip.Prefix) error {
	minBits := minBits6
	if network.Addr().Is4() {
		minBits = minBits4
	}
	if network.Bits() < minBits {
		return fmt.Errorf("%q is broader than /%d: every host in it could forge client addresses; name only your proxies' networks",
			entry, minBits)
	}
	return nil
}

// Trust reports whether addr is a trusted proxy.
func (p Proxies) Trust(addr netip.Addr) bool {
	for _, network := range p.networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// Of returns the address in addr in the form that this package uses: IPv4 as IPv4, without a zone. It returns the zero
// address if addr is not a TCP address.
func Of(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}
