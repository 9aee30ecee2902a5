package realip

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

// maxNode is the length of the longest entry that can be an address: IPv6 that ends in IPv4, brackets and a port.
const maxNode = len("[0000:0000:0000:0000:0000:ffff:255.255.255.255]:65535")

// ForwardedFor returns the client's address according to X-Forwarded-For: the right-most entry that is not a trusted proxy.
// peer is the address of the connection. lines are the header's lines, in order; they form one list. If peer is not a
// trusted proxy, it is the client, whatever the header says. At an invalid entry the last valid address is the client.
func (p Proxies) ForwardedFor(peer netip.Addr, lines [][]byte) netip.Addr {
	return p.walk(peer, lines, cutLast, parseNode)
}

// Forwarded does the same as ForwardedFor with the for= parameters of the Forwarded header (RFC 7239).
func (p Proxies) Forwarded(peer netip.Addr, lines [][]byte) netip.Addr {
	return p.walk(peer, lines, cutLastElement, parseElement)
}

type (
	cutter func(list []byte) (rest, last []byte, more bool)
	parser func(entry []byte) (netip.Addr, bool)
)

// walk reads entries from the right while they were written by a trusted proxy.
func (p Proxies) walk(client netip.Addr, lines [][]byte, cut cutter, parse parser) netip.Addr {
	for i := len(lines) - 1; i >= 0; i-- {
		rest, more := lines[i], true
		for more {
			if !p.Trust(client) {
				return client
			}
			var last []byte
			rest, last, more = cut(rest)
			addr, ok := parse(last)
			if !ok {
				return client
			}
			client = addr
		}
	}
	return client
}

// cutLast cuts the last entry off a list. more reports whether an entry is left.
func cutLast(list []byte) (rest, last []byte, more bool) {
	comma := bytes.LastIndexByte(list, ',')
	if comma < 0 {
		return nil, list, false
	}
	return list[:comma], list[comma+1:], true
}

// cutLastElement is cutLast for a list whose entries may contain quoted commas. It reads from the right, where the trusted
// proxies' entries are: a quote that a client opened further left cannot swallow them.
func cutLastElement(list []byte) (rest, last []byte, more bool) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch {
		case list[i] == '"' && !escaped(list, i):
			quoted = !quoted
		case list[i] == ',' && !quoted:
			return list[:i], list[i+1:], true
		}
	}
	return nil, list, false
}

// escaped reports whether an odd number of backslashes precedes i.
func escaped(s []byte, i int) bool {
	before := i
	for before > 0 && s[before-1] == '\\' {
		before--
	}
	return (i-before)%2 == 1
}

// parseElement parses one proxy's pairs, such as for="[2001:db8::1]:4711";proto=https. Exactly one must be for=.
func parseElement(element []byte) (addr netip.Addr, ok bool) {
	found := false
	for more := true; more; {
		var pair []byte
		pair, element, more = cutPair(element)
		name, value, _ := bytes.Cut(pair, []byte("="))
		if !bytes.EqualFold(bytes.TrimSpace(name), []byte("for")) {
			continue
		}
		if found {
			return netip.Addr{}, false
		}
		found = true
		value = bytes.TrimSpace(value)
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' { // an address has no escapes to resolve
			value = value[1 : len(value)-1]
		}
		addr, ok = parseNode(value)
	}
	return addr, ok
}

// cutPair cuts the first pair off an element.
func cutPair(element []byte) (pair, rest []byte, more bool) {
	quoted := false
	for i, c := range element {
		switch {
		case c == '"' && !escaped(element, i):
			quoted = !quoted
		case c == ';' && !quoted:
			return element[:i], element[i+1:], true
		}
	}
	return element, nil, false
}

// parseNode parses an address as proxies write it: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1],
// [2001:db8::1]:80. It accepts nothing else: unknown, _hidden, names and zones are invalid.
func parseNode(node []byte) (netip.Addr, bool) {
	node = bytes.Trim(node, " \t")
	if len(node) > maxNode {
		return netip.Addr{}, false
	}
	s := string(node)
	if inside, ok := strings.CutPrefix(s, "["); ok {
		host, port, closed := strings.Cut(inside, "]")
		addr, ok := parseAddr(host)
		return addr, ok && closed && strings.Contains(host, ":") && (port == "" || isPort(port))
	}
	if host, port, one := strings.Cut(s, ":"); one && !strings.Contains(port, ":") {
		addr, ok := parseAddr(host)
		return addr, ok && isPort(":"+port)
	}
	return parseAddr(s)
}

// isPort reports whether s is a colon and a port, or an obfuscated port (RFC 7239, section 6.3).
func isPort(s string) bool {
	port, ok := strings.CutPrefix(s, ":")
	if !ok {
		return false
	}
	if strings.HasPrefix(port, "_") {
		return true
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}

// parseAddr parses an address. Zones are invalid: they have a meaning only on the machine that wrote them.
func parseAddr(s string) (netip.Addr, bool) {
	if strings.Contains(s, "%") {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), err == nil
}
