// Package realip finds the address that a client really has when proxies stand in front.
//
// What a header says of a client is worth as much as who wrote it. The last entry is written by whoever the connection
// comes from, the one before by whoever that entry names, and so on; so a header is read from its right end, for as long
// as the one who wrote an entry is known to tell the truth. What is left of there may be the client's own invention.
package realip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// The broadest networks that may be trusted: 10.0.0.0/8 is the largest that one operator has, a /16 of IPv6 more than
// anyone. A broader one is a slip that would let strangers say who they are.
const (
	broadest4 = 8
	broadest6 = 16
)

// Proxies are those whose word about a client is believed. The zero value believes nobody.
type Proxies struct{ networks []netip.Prefix }

// ParseProxies reads addresses and CIDRs. Its error names each one that is wrong.
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

// unmap makes ::ffff:10.0.0.0/104 the 10.0.0.0/8 that it means: addresses are compared as IPv4.
func unmap(network netip.Prefix) netip.Prefix {
	const mapped = 96 // bits before the IPv4 address
	if network.Addr().Is4In6() {
		return netip.PrefixFrom(network.Addr().Unmap(), max(0, network.Bits()-mapped))
	}
	return network
}

func checkBreadth(entry string, network netip.Prefix) error {
	broadest := broadest6
	if network.Addr().Is4() {
		broadest = broadest4
	}
	if network.Bits() < broadest {
		return fmt.Errorf("%q is broader than /%d: whoever is in it could say to be anyone; name your proxies' networks",
			entry, broadest)
	}
	return nil
}

// Trust reports whether addr is one of the proxies.
func (p Proxies) Trust(addr netip.Addr) bool {
	for _, network := range p.networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// Of is the address in addr in the one form that this package uses: IPv4 as IPv4, without a zone. It is the zero
// address if addr is not of TCP.
func Of(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}
