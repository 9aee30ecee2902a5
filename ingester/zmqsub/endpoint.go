package zmqsub

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// An endpoint is an address at which a node publishes, from --zmq.
type endpoint struct {
	text  string // as configured
	host  string // a name to resolve; "" for an address and for ipc
	port  uint16 // of a name
	fixed string // what libzmq connects to if there is nothing to resolve
}

// expected describes a valid endpoint.
const expected = "want tcp://HOST:PORT or ipc://PATH, as in bitcoind's -zmqpubrawtx"

// maxPath is the longest path of a Unix socket, in bytes: Linux's sun_path without its final zero.
const maxPath = 107

// CheckEndpoints returns what is wrong with ZMQ endpoints.
func CheckEndpoints(endpoints []string) error {
	_, err := parseAll(endpoints)
	return err
}

func parseAll(texts []string) ([]endpoint, error) {
	if len(texts) == 0 {
		return nil, errors.New("no ZMQ endpoint: " + expected)
	}
	var wrong []error
	list := make([]endpoint, len(texts))
	for i, text := range texts {
		var err error
		if list[i], err = parse(text); err != nil {
			wrong = append(wrong, fmt.Errorf("ZMQ endpoint %q: %w", text, err))
		}
		for _, before := range texts[:i] {
			if before == text {
				wrong = append(wrong, fmt.Errorf("ZMQ endpoint %q is listed twice: remove one", text))
				break
			}
		}
	}
	return list, errors.Join(wrong...)
}

func parse(text string) (endpoint, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return endpoint{}, errors.New("it contains a space; separate several endpoints by commas alone")
	}
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case !ok || rest == "":
		return endpoint{}, errors.New(expected)
	case scheme == "ipc":
		return parseIPC(text, rest)
	case scheme == "tcp":
		return parseTCP(text, rest)
	}
	return endpoint{}, errors.New(expected)
}

func parseIPC(text, path string) (endpoint, error) {
	switch {
	case path == "*":
		return endpoint{}, errors.New("* is for the node, which binds the socket; use the socket's path")
	case len(path) > maxPath:
		return endpoint{}, fmt.Errorf("the path has %d bytes, and a socket's path at most %d", len(path), maxPath)
	}
	return endpoint{text: text, fixed: text}, nil
}

func parseTCP(text, rest string) (endpoint, error) {
	if before, after, found := strings.Cut(rest, "/"); found {
		return endpoint{}, fmt.Errorf("/%s after the port is not allowed: write tcp://%s", after, before)
	}
	host, portText, err := net.SplitHostPort(rest)
	if err != nil {
		return endpoint{}, explainSplit(rest)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	switch {
	case portText == "*" || host == "*":
		return endpoint{}, errors.New("* is for the node, which binds the socket; use the node's address and port")
	case err != nil || port == 0:
		return endpoint{}, fmt.Errorf("the port is %q: want 1 to 65535", portText)
	case host == "":
		return endpoint{}, fmt.Errorf("no host before the port: tcp://127.0.0.1:%s is a node on this machine", portText)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return endpoint{text: text, fixed: tcp(addr, uint16(port))}, nil
	}
	if !isName(host) || rest[0] == '[' {
		return endpoint{}, fmt.Errorf("%q is neither an address nor a name", host)
	}
	return endpoint{text: text, host: host, port: uint16(port)}, nil
}

// explainSplit returns why rest is not HOST:PORT.
func explainSplit(rest string) error {
	if cut := strings.LastIndexByte(rest, ':'); cut > 0 {
		if addr, err := netip.ParseAddr(rest[:cut]); err == nil && addr.Is6() {
			return fmt.Errorf("an IPv6 address needs brackets: write tcp://[%v]:%s", addr, rest[cut+1:])
		}
	}
	host := strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]")
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil && addr.Is6():
		host = "[" + host + "]"
	case err != nil && !isName(host):
		return errors.New(expected)
	}
	return fmt.Errorf("no port: write tcp://%s:28332, with the port of the node's -zmqpubrawtx", host)
}

// isName reports whether a text may be a host name. Docker's have underscores.
func isName(host string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
	return len(host) <= 253 && strings.Trim(host, letters) == ""
}

// tcp returns an address as libzmq accepts it, and as it reports it in its events.
func tcp(addr netip.Addr, port uint16) string {
	return "tcp://" + netip.AddrPortFrom(addr.Unmap(), port).String()
}

// SamePlace reports whether two endpoints, ours and the node's, may be the same. It compares ports: the node's own
// address for a socket often differs from ours, as 0.0.0.0 or a name do. A port may be mapped in between (docker -p,
// ssh -L), so different ports prove nothing.
func SamePlace(a, b string) bool {
	ua, errA := url.Parse(a)
	ub, errB := url.Parse(b)
	if errA != nil || errB != nil || ua.Scheme != ub.Scheme {
		return false
	}
	if ua.Scheme == "ipc" {
		return ua.Host+ua.Path == ub.Host+ub.Path
	}
	return ua.Port() == ub.Port()
}
