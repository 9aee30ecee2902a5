package limit

import (
	"encoding/binary"
	"net/netip"
)

// prefix6 is the network that one IPv6 client holds: providers hand out at least a /64, so single addresses would
// limit nobody.
const prefix6 = 64

// The networks whose IPv6 addresses stand for one IPv4 address each. By its /64 a client would share one count with all of
// IPv4 (NAT64) or all users of a server (Teredo), or have 65,536 counts of its own (6to4).
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052: translators between IPv6 and IPv4
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215: the same, under prefixes that an operator chooses
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")      // RFC 4380
)

// key is what is counted as one: an IPv4 address, be it as part of an IPv6 address, or the network of an IPv6 address.
func key(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr
	}
	bytes := addr.As16()
	switch {
	case nat64.Contains(addr):
		return ipv4(bytes[12:], 0)
	case nat64Local.Contains(addr):
		return addr // where in it the IPv4 address stands depends on the operator's prefix, but there is one for each
	case sixToFour.Contains(addr):
		return ipv4(bytes[2:], 0)
	case teredo.Contains(addr):
		return ipv4(bytes[12:], 0xFFFFFFFF) // it is sent inverted, so that NATs do not rewrite it
	}
	p, err := addr.Prefix(prefix6)
	if err != nil {
		return addr // the zero address: unknown clients share one count
	}
	return p.Addr()
}

// ipv4 is the address in the first four bytes, with the bits of mask turned over.
func ipv4(bytes []byte, mask uint32) netip.Addr {
	var four [4]byte
	binary.BigEndian.PutUint32(four[:], binary.BigEndian.Uint32(bytes)^mask)
	return netip.AddrFrom4(four)
}
