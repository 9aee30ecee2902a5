package connlimit_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/edge/connlimit"
	"sightglass/edge/internal/edgetest"
	"sightglass/edge/realip"
	"sightglass/edge/rejection"
)

// An echoServer responds to each connection of a limited listener with the address that it sees, and then echoes.
type echoServer struct {
	*connlimit.Listener
	reg *prometheus.Registry
}

// startServer runs a server until the test ends. proxies is empty or a CIDR.
func startServer(t *testing.T, maxPerAddress int, proxies string, headerTimeout time.Duration) *echoServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := realip.ParseProxies(strings.Fields(proxies))
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	s := &echoServer{reg: reg, Listener: connlimit.New(ln.(*net.TCPListener), connlimit.Options{
		MaxPerAddress: maxPerAddress, Proxies: trusted, ProxyProtocol: true, HeaderTimeout: headerTimeout,
		Rejections: rejection.NewCounter(reg),
	})}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := s.Accept()
			if err != nil {
				return
			}
			served.Go(func() { respond(conn) })
		}
	})
	t.Cleanup(func() { s.Close(); served.Wait() })
	return s
}

func respond(conn net.Conn) {
	defer conn.Close()
	b := make([]byte, 1)
	if _, err := io.ReadFull(conn, b); err != nil {
		return
	}
	io.WriteString(conn, realip.Of(conn.RemoteAddr()).String()+"\n") //nolint:errcheck // the client may be gone
	io.Copy(conn, conn)                                              //nolint:errcheck // the client may be gone
}

// seenAddress sends a connection's first bytes and returns the address that the server sees, or "" if it closes the
// connection.
func seenAddress(t *testing.T, conn net.Conn, first string) string {
	t.Helper()
	if _, err := io.WriteString(conn, first); err != nil {
		return ""
	}
	var line strings.Builder
	for b := make([]byte, 1); ; line.Write(b) {
		_, err := conn.Read(b)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			t.Fatal("got neither a response nor a closed connection")
		}
		if err != nil {
			return ""
		}
		if b[0] == '\n' {
			return line.String()
		}
	}
}

func (s *echoServer) expectOneRejected(t *testing.T, why rejection.Reason) {
	t.Helper()
	metrics, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range metrics[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == string(why) && m.GetCounter().GetValue() != 1 {
			t.Errorf("got %v connections rejected for %q, want 1", m.GetCounter().GetValue(), why)
		}
	}
}

func (s *echoServer) expectEmpty(t *testing.T) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		connections, addresses := s.Held()
		if connections == 0 && addresses == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("got %d held connections of %d addresses, want none", connections, addresses)
		case <-poll.C:
		}
	}
}

func TestListener_LimitsConnectionsPerAddress(t *testing.T) {
	s := startServer(t, 3, "", time.Minute)
	var three []net.Conn
	for range 3 {
		conn := edgetest.Dial(t, s.Addr(), "127.0.1.1")
		if got := seenAddress(t, conn, "x"); got != "127.0.1.1" {
			t.Fatalf("got address %q, want 127.0.1.1", got)
		}
		three = append(three, conn)
	}
	if got := seenAddress(t, edgetest.Dial(t, s.Addr(), "127.0.1.1"), "x"); got != "" {
		t.Errorf("the fourth connection: got address %q, want it closed", got)
	}
	s.expectOneRejected(t, rejection.Sockets)
	if got := seenAddress(t, edgetest.Dial(t, s.Addr(), "127.0.1.2"), "x"); got != "127.0.1.2" {
		t.Errorf("another address: got %q, want 127.0.1.2", got)
	}
	for _, conn := range three {
		conn.Close()
	}
	for seenAddress(t, edgetest.Dial(t, s.Addr(), "127.0.1.1"), "x") == "" { // until the server has released the closed ones
	}
}

// v2 encodes a PROXY protocol header of version 2.
func v2(t *testing.T, h *proxyproto.Header) string {
	t.Helper()
	h.Version = 2
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func tcp(addr string) *net.TCPAddr { return &net.TCPAddr{IP: net.ParseIP(addr), Port: 4711} }

func TestListener_ProxyProtocol(t *testing.T) {
	proxied := func(family proxyproto.AddressFamilyAndProtocol, from, to string) string {
		return v2(t, &proxyproto.Header{Command: proxyproto.PROXY, TransportProtocol: family, SourceAddr: tcp(from), DestinationAddr: tcp(to)})
	}
	for name, c := range map[string]struct{ from, send, want string }{
		"v1":                                {"127.0.2.1", "PROXY TCP4 198.51.100.1 192.0.2.1 4711 80\r\nx", "198.51.100.1"},
		"v1 of IPv6":                        {"127.0.2.1", "PROXY TCP6 2001:db8::1 2001:db8::2 4711 80\r\nx", "2001:db8::1"},
		"v1 of both, as nginx sends it":     {"127.0.2.1", "PROXY TCP6 2001:db8::1 192.0.2.1 4711 80\r\nx", "2001:db8::1"},
		"v1 UNKNOWN":                        {"127.0.2.1", "PROXY UNKNOWN\r\nx", "127.0.2.1"},
		"v2":                                {"127.0.2.1", proxied(proxyproto.TCPv4, "198.51.100.1", "192.0.2.1") + "x", "198.51.100.1"},
		"v2 of IPv6":                        {"127.0.2.1", proxied(proxyproto.TCPv6, "2001:db8::1", "2001:db8::2") + "x", "2001:db8::1"},
		"v2 of IPv4 as IPv6":                {"127.0.2.1", proxied(proxyproto.TCPv6, "::ffff:198.51.100.1", "2001:db8::2") + "x", "198.51.100.1"},
		"v2 of the proxy":                   {"127.0.2.1", v2(t, &proxyproto.Header{Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}) + "x", "127.0.2.1"},
		"v1 of an untrusted address":        {"127.0.3.1", "PROXY TCP4 198.51.100.1 192.0.2.1 4711 80\r\nx", "127.0.3.1"},
		"v2 of an untrusted address":        {"127.0.3.1", proxied(proxyproto.TCPv4, "198.51.100.1", "192.0.2.1") + "x", "127.0.3.1"},
		"no header of an untrusted address": {"127.0.3.1", "x", "127.0.3.1"},
		"no header of a proxy":              {"127.0.2.1", "GET / HTTP/1.1\r\n\r\n", ""},
		"a malformed header of a proxy":     {"127.0.2.1", "PROXY TCP4 198.51.100.1\r\nx", ""},
		"v1 without an end":                 {"127.0.2.1", "PROXY TCP4 " + strings.Repeat("1", 200), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, 1, "127.0.2.0/24", time.Minute)
			conn := edgetest.Dial(t, s.Addr(), c.from)
			if got := seenAddress(t, conn, c.send); got != c.want {
				t.Errorf("got address %q, want %q", got, c.want)
			}
			if c.want == "" {
				s.expectOneRejected(t, rejection.ProxyHeader)
			}
			conn.Close()
			s.expectEmpty(t)
		})
	}
}

func TestListener_ClosesOnSlowProxyHeader(t *testing.T) {
	s := startServer(t, 1, "127.0.2.0/24", 50*time.Millisecond)
	if got := seenAddress(t, edgetest.Dial(t, s.Addr(), "127.0.2.1"), "PROXY TC"); got != "" {
		t.Errorf("got address %q, want it closed", got)
	}
	s.expectOneRejected(t, rejection.ProxyHeader)
}

// TestListener_CountsClientsNotProxies: a proxy's connections count for its clients.
func TestListener_CountsClientsNotProxies(t *testing.T) {
	s := startServer(t, 1, "127.0.2.0/24", time.Minute)
	first := edgetest.Dial(t, s.Addr(), "127.0.2.1")
	if got := seenAddress(t, first, "PROXY TCP4 198.51.100.1 192.0.2.1 1 80\r\nx"); got == "" {
		t.Fatal("got the first connection rejected, want it accepted")
	}
	if got := seenAddress(t, edgetest.Dial(t, s.Addr(), "127.0.2.1"), "PROXY TCP4 198.51.100.1 192.0.2.1 2 80\r\nx"); got != "" {
		t.Errorf("the second connection of the same client: got address %q, want it closed", got)
	}
	s.expectOneRejected(t, rejection.Sockets)
	second := edgetest.Dial(t, s.Addr(), "127.0.2.1")
	if got := seenAddress(t, second, "PROXY TCP4 198.51.100.2 192.0.2.1 3 80\r\nx"); got == "" {
		t.Error("got another client rejected, want it accepted")
	}
	first.Close()
	second.Close()
	s.expectEmpty(t)
}
