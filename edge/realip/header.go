package realip

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

// The most characters of an entry that can be an address: IPv6 with an IPv4 end, brackets and a port.
const longestNode = len("[0000:0000:0000:0000:0000:ffff:255.255.255.255]:65535")

// ForwardedFor gives the client's address by X-Forwarded-For: the right-most entry that is no proxy of ours. peer is
// where the connection comes from, lines are the header's, in order; several are one list. If peer is no proxy, it is
// the client, whatever the header says. Where the header makes no sense the walk ends at the last address that does.
func (p Proxies) ForwardedFor(peer netip.Addr, lines [][]byte) netip.Addr {
	return p.walk(peer, lines, cutLast, parseNode)
}

// Forwarded is as ForwardedFor, by the for= of RFC 7239's header.
func (p Proxies) Forwarded(peer netip.Addr, lines [][]byte) netip.Addr {
	return p.walk(peer, lines, cutLastElement, parseElement)
}

type (
	cutter func(list []byte) (rest, last []byte, more bool)
	parser func(entry []byte) (netip.Addr, bool)
)

// walk goes from the right for as long as it is the word of a proxy.
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

// cutLast takes the last entry off a list. More reports whether there is another before it.
func cutLast(list []byte) (rest, last []byte, more bool) {
	comma := bytes.LastIndexByte(list, ',')
	if comma < 0 {
		return nil, list, false
	}
	return list[:comma], list[comma+1:], true
}

// cutLastElement is cutLast for a list whose entries may hold commas in quotes. It reads from the right, as our proxies
// wrote it: a quote that a client opened, further left, cannot swallow their entries.
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

// escaped reports whether an odd number of backslashes stands before i.
func escaped(s []byte, i int) bool {
	before := i
	for before > 0 && s[before-1] == '\\' {
		before--
	}
	return (i-before)%2 == 1
}

// parseElement reads one proxy's pairs, such as for="[2001:db8::1]:4711";proto=https. Exactly one must be for=.
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
		addr, ok = parseNode(unquote(bytes.TrimSpace(value)))
	}
	return addr, ok
}

// cutPair takes the first pair off an element.
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

// unquote takes the quotes off. An address needs no escapes inside, so none are resolved.
func unquote(value []byte) []byte {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

// parseNode reads an address as proxies write it: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1],
// [2001:db8::1]:80. It is not ok for anything else: unknown, _hidden, names, zones.
func parseNode(node []byte) (netip.Addr, bool) {
	node = bytes.Trim(node, " \t")
	if len(node) > longestNode {
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

// isPort reports whether s is a colon and a port, or an obfuscated one, as RFC 7239 has it.
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

// parseAddr reads an address. A zone means something only on the machine that wrote it, so none is taken.
func parseAddr(s string) (netip.Addr, bool) {
	if strings.Contains(s, "%") {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), err == nil
}
