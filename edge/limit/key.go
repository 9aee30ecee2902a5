package limit

import (
	"encoding/binary"
	"net/netip"
)

// prefix6 is the IPv6 network that counts as one client. Providers assign at least a /64, so a limit per single address
// would have no effect.
const prefix6 = 64

// The networks whose IPv6 addresses each represent one IPv4 address. Counted by /64, a client would share one count with all
// of IPv4 (NAT64) or all users of a server (Teredo), or have 65,536 counts of its own (6to4).
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052: translators between IPv6 and IPv4
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215: the same, with prefixes that an operator chooses
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")      // RFC 4380
)

// torCircuits are the addresses that tor gives to the visitors of an onion service, one for each circuit, with
// HiddenServiceExportCircuitID haproxy (tor's manual). By /64, all visitors would be one client.
var torCircuits = netip.MustParsePrefix("fc00:dead:beef:4dad::/64")

// key returns what counts as one client: an IPv4 address, which may be embedded in an IPv6 address, or an IPv6 network.
func key(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr
	}
	bytes := addr.As16()
	switch {
	case nat64.Contains(addr):
		return ipv4(bytes[12:], 0)
	case torCircuits.Contains(addr):
		return addr
	case nat64Local.Contains(addr):
		return addr // the position of the IPv4 address depends on the operator's prefix, but each address contains one
	case sixToFour.Contains(addr):
		return ipv4(bytes[2:], 0)
	case teredo.Contains(addr):
		return ipv4(bytes[12:], 0xFFFFFFFF) // inverted, so that NATs do not rewrite it
	}
	p, err := addr.Prefix(prefix6)
	if err != nil {
		return addr // the zero address: clients of unknown address share one count
	}
	return p.Addr()
}

// ipv4 returns the address in the first four bytes, with the bits of mask inverted.
func ipv4(bytes []byte, mask uint32) netip.Addr {
	var four [4]byte
	binary.BigEndian.PutUint32(four[:], binary.BigEndian.Uint32(bytes)^mask)
	return netip.AddrFrom4(four)
}
