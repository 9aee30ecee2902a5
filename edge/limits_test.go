package edge

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sightglass/edge/internal/edgetest"
	"sightglass/edge/rejection"
)

// serve runs an edge without Redis until the test ends.
func serve(t *testing.T, set func(*Options)) *Edge {
	t.Helper()
	o := Defaults()
	o.Listen, o.Redis, o.Log = "127.0.0.1:0", "redis://127.0.0.1:1", slog.New(slog.DiscardHandler)
	o.DrainDelay, o.DrainWindow = 0, 0 // no load balancer probes it
	set(&o)
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return e
}

func request(headers ...string) string {
	return "GET /ws/mempool HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + strings.Join(append(headers, "\r\n"), "\r\n")
}

// handshake requests a WebSocket and returns the response, and a reader of what follows it.
func handshake(t *testing.T, conn net.Conn, headers ...string) (*http.Response, *bufio.Reader) {
	t.Helper()
	if _, err := io.WriteString(conn, request(headers...)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return response, r
}

// expectError expects an API error with the status.
func expectError(t *testing.T, response *http.Response, status int) {
	t.Helper()
	var body struct {
		Error struct {
			Code    int
			Message string
		}
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		t.Errorf("got %v from the body, want an API error", err)
	}
	if response.StatusCode != status || body.Error.Code != status || body.Error.Message == "" {
		t.Errorf("got status %d with body %+v, want %d with an API error", response.StatusCode, body, status)
	}
}

func expectRejected(t *testing.T, e *Edge, why rejection.Reason, want int) {
	t.Helper()
	edgetest.Until(t, fmt.Sprintf("%d rejections for %q", want, why), func() bool { return rejections(t, e, why) == want })
}

func rejections(t *testing.T, e *Edge, why rejection.Reason) int {
	t.Helper()
	families, err := e.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "sightglass_edge_rejected_total" && m.GetLabel()[0].GetValue() == string(why) {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	t.Fatalf("got no series for %q", why)
	return 0
}

func TestAdmit_ChecksOriginBeforeUpgrade(t *testing.T) {
	e := serve(t, func(o *Options) { o.AllowedOrigins = []string{"https://b.example", "tauri://localhost"} })
	rejected := 0
	for name, c := range map[string]struct {
		headers []string
		status  int
	}{
		"none":                            {[]string{"Host: a.example"}, 101},
		"the same":                        {[]string{"Host: a.example", "Origin: https://a.example"}, 101},
		"listed":                          {[]string{"Host: a.example", "Origin: https://b.example"}, 101},
		"another":                         {[]string{"Host: a.example", "Origin: https://evil.example"}, 403},
		"null":                            {[]string{"Host: a.example", "Origin: null"}, 403},
		"an application, listed":          {[]string{"Host: a.example", "Origin: tauri://localhost"}, 101},
		"another application":             {[]string{"Host: a.example", "Origin: capacitor://localhost"}, 403},
		"an application of the same name": {[]string{"Host: localhost", "Origin: ionic://localhost"}, 403},
		"two":                             {[]string{"Host: a.example", "Origin: https://a.example", "Origin: https://evil.example"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			response, _ := handshake(t, edgetest.Dial(t, e.Addr(), "127.0.5.1"), c.headers...)
			if c.status == 403 {
				expectError(t, response, 403)
				rejected++
			} else if response.StatusCode != c.status {
				t.Errorf("got %s, want %d", response.Status, c.status)
			}
		})
	}
	expectRejected(t, e, rejection.Origin, rejected)
}

// TestAdmit_NullAllowsOnlyPagesWithoutOrigin checks that the entry null allows no other origin.
func TestAdmit_NullAllowsOnlyPagesWithoutOrigin(t *testing.T) {
	e := serve(t, func(o *Options) { o.AllowedOrigins = []string{"null"} })
	for page, want := range map[string]int{"null": 101, "https://null": 403, "NULL": 403, "": 403, "https://evil.example": 403} {
		if response, _ := handshake(t, edgetest.Dial(t, e.Addr(), "127.0.5.1"), "Host: a.example", "Origin: "+page); response.StatusCode != want {
			t.Errorf("%q: got %s, want %d", page, response.Status, want)
		}
	}
}

func TestAdmit_LimitsHandshakesPerMinute(t *testing.T) {
	e := serve(t, func(o *Options) { o.HandshakesPerMinute = 3 })
	for range 3 {
		if response, _ := handshake(t, edgetest.Dial(t, e.Addr(), "127.0.5.1"), "Host: a"); response.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("got %s, want 101", response.Status)
		}
	}
	response, _ := handshake(t, edgetest.Dial(t, e.Addr(), "127.0.5.1"), "Host: a")
	expectError(t, response, 429)
	if after := response.Header.Get("Retry-After"); after != "20" {
		t.Errorf("got Retry-After %q, want 20", after)
	}
	expectRejected(t, e, rejection.HandshakeRate, 1)
	if response, _ := handshake(t, edgetest.Dial(t, e.Addr(), "127.0.5.2"), "Host: a"); response.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("another address: got %s, want 101", response.Status)
	}
}

// TestAdmit_CountsByClientAddress: with one stream per address, the second is accepted only from another address.
func TestAdmit_CountsByClientAddress(t *testing.T) {
	const proxy, untrusted = "127.0.2.1", "127.0.3.1"
	for name, c := range map[string]struct {
		setting       string
		from          string
		first, second []string
		same          bool
	}{
		"behind a proxy, another":          {"any", proxy, []string{"X-Forwarded-For: 198.51.100.1"}, []string{"X-Forwarded-For: 198.51.100.2"}, false},
		"behind a proxy, the same":         {"any", proxy, []string{"X-Forwarded-For: 1.1.1.1, 198.51.100.1"}, []string{"X-Forwarded-For: 2.2.2.2, 198.51.100.1"}, true},
		"several headers":                  {"any", proxy, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 198.51.100.1"}, []string{"X-Forwarded-For: 198.51.100.1"}, true},
		"Forwarded":                        {"any", proxy, []string{"Forwarded: for=198.51.100.1"}, []string{`Forwarded: for="198.51.100.1:80"`}, true},
		"Forwarded, another":               {"any", proxy, []string{"Forwarded: for=198.51.100.1"}, []string{`Forwarded: for="[2001:db8::1]:80"`}, false},
		"Forwarded beside the other":       {"any", proxy, []string{"X-Forwarded-For: 198.51.100.1", "Forwarded: for=1.1.1.1"}, []string{"X-Forwarded-For: 198.51.100.1", "Forwarded: for=2.2.2.2"}, true},
		"Forwarded by the setting":         {"forwarded", proxy, []string{"X-Forwarded-For: 1.1.1.1", "Forwarded: for=198.51.100.1"}, []string{"X-Forwarded-For: 2.2.2.2", "Forwarded: for=198.51.100.1"}, true},
		"only X-Forwarded-For by the same": {"x-forwarded-for", proxy, []string{"Forwarded: for=1.1.1.1"}, []string{"Forwarded: for=2.2.2.2"}, true},
		"an IPv6 /64":                      {"any", proxy, []string{"X-Forwarded-For: 2001:db8::1"}, []string{"X-Forwarded-For: 2001:db8::2"}, true},
		"an IPv4 address by NAT64":         {"any", proxy, []string{"X-Forwarded-For: 64:ff9b::c633:6401"}, []string{"X-Forwarded-For: 198.51.100.1"}, true},
		"two IPv4 addresses by NAT64":      {"any", proxy, []string{"X-Forwarded-For: 64:ff9b::c633:6401"}, []string{"X-Forwarded-For: 64:ff9b::c633:6402"}, false},
		"an untrusted address forges":      {"any", untrusted, []string{"X-Forwarded-For: 1.1.1.1"}, []string{"X-Forwarded-For: 2.2.2.2", "Forwarded: for=3.3.3.3"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, func(o *Options) {
				o.MaxPerAddress, o.TrustedProxies, o.ForwardedHeader = 1, []string{"127.0.2.0/24"}, c.setting
			})
			handshake(t, edgetest.Dial(t, e.Addr(), c.from), append(c.first, "Host: a")...)
			edgetest.Until(t, "the first to join", func() bool { return e.Clients() == 1 })
			_, r := handshake(t, edgetest.Dial(t, e.Addr(), c.from), append(c.second, "Host: a")...)
			if c.same {
				expectClose(t, r, 4029)
				expectRejected(t, e, rejection.Address, 1)
				return
			}
			edgetest.Until(t, "the second to join", func() bool { return e.Clients() == 2 })
		})
	}
}

// expectClose expects a WebSocket close frame with the code.
func expectClose(t *testing.T, r io.Reader, code int) {
	t.Helper()
	frame := make([]byte, 4) // FIN and opcode, length, code
	if _, err := io.ReadFull(r, frame); err != nil {
		t.Fatal(err)
	}
	if got := int(frame[2])<<8 | int(frame[3]); frame[0] != 0x88 || got != code {
		t.Errorf("got frame % x (code %d), want a close frame with code %d", frame, got, code)
	}
}

// TestClientAddr_IsACopy: fasthttp reuses a request's buffers for the next request on the same connection.
func TestClientAddr_IsACopy(t *testing.T) {
	e := serve(t, func(o *Options) { o.HandshakesPerMinute, o.TrustedProxies = 1, []string{"127.0.2.0/24"} })
	conn := edgetest.Dial(t, e.Addr(), "127.0.2.1")
	r := bufio.NewReader(conn)
	request := func(client string) int { // without a key, so that the connection stays HTTP
		t.Helper()
		if _, err := fmt.Fprintf(conn, "GET /ws/mempool HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nX-Forwarded-For: %s\r\n\r\n", client); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode
	}
	for _, client := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
		if status := request(client); status == 429 {
			t.Errorf("%s: got 429 for the first request, want another status", client)
		}
	}
	for _, client := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
		if status := request(client); status != 429 {
			t.Errorf("%s: got %d for the second request in a minute, want 429", client, status)
		}
	}
}

func TestEdge_ProxyProtocolAddressReachesHub(t *testing.T) {
	e := serve(t, func(o *Options) {
		o.MaxPerAddress, o.TrustedProxies, o.ProxyProtocol = 1, []string{"127.0.2.0/24", "192.0.2.7"}, true
	})
	connect := func(line string, headers ...string) io.Reader {
		t.Helper()
		conn := edgetest.Dial(t, e.Addr(), "127.0.2.1")
		if _, err := io.WriteString(conn, line); err != nil {
			t.Fatal(err)
		}
		_, r := handshake(t, conn, append(headers, "Host: a")...)
		return r
	}
	connect("PROXY TCP4 198.51.100.1 192.0.2.1 4711 80\r\n")
	edgetest.Until(t, "the first to join", func() bool { return e.Clients() == 1 })
	expectClose(t, connect("PROXY TCP4 198.51.100.1 192.0.2.1 4712 80\r\n", "X-Forwarded-For: 6.6.6.6"), 4029)
	connect("PROXY TCP4 198.51.100.2 192.0.2.1 4713 80\r\n")
	edgetest.Until(t, "another address to join", func() bool { return e.Clients() == 2 })
	expectClose(t, connect("PROXY TCP4 192.0.2.7 192.0.2.1 4714 80\r\n", "X-Forwarded-For: 198.51.100.2"), 4029)
}

func TestEdge_RejectsProxyHeaderFromUntrusted(t *testing.T) {
	e := serve(t, func(o *Options) { o.TrustedProxies, o.ProxyProtocol = []string{"127.0.2.0/24"}, true })
	conn := edgetest.Dial(t, e.Addr(), "127.0.3.1")
	if _, err := io.WriteString(conn, "PROXY TCP4 198.51.100.1 192.0.2.1 4711 80\r\n"+request("Host: a")); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil && response.StatusCode == http.StatusSwitchingProtocols {
		t.Error("got the handshake accepted, want it rejected")
	}
}

func TestEdge_ClosesOnSlowHeaders(t *testing.T) {
	for name, before := range map[string]string{
		"first request":  "",
		"second request": "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, func(o *Options) { o.HeaderTimeout = 300 * time.Millisecond })
			conn := edgetest.Dial(t, e.Addr(), "127.0.5.1")
			if _, err := io.WriteString(conn, before); err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, conn)
				closed <- err
			}()
			drip := time.NewTicker(5 * time.Millisecond) // each byte is well within the timeout
			defer drip.Stop()
			all := "GET /livez HTTP/1.1\r\nX: " + strings.Repeat("x", 3000)
			for i := 0; ; i++ {
				select {
				case err := <-closed:
					if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
						t.Error("got no timeout, want a closed connection")
					}
					expectRejected(t, e, rejection.HeaderTime, 1)
					return
				case <-drip.C:
					if i == len(all) {
						t.Fatal("got all bytes accepted, want a closed connection")
					}
					io.WriteString(conn, all[i:i+1]) //nolint:errcheck // the reader above sees the error
				}
			}
		})
	}
}

func TestEdge_RejectsLargeHeaders(t *testing.T) {
	e := serve(t, func(o *Options) { o.MaxHeaderBytes = 2048 })
	response, _ := handshake(t, edgetest.Dial(t, e.Addr(), "127.0.5.1"), "Host: a", "X: "+strings.Repeat("x", 1024))
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("under the limit: got %s, want 101", response.Status)
	}
	response, _ = handshake(t, edgetest.Dial(t, e.Addr(), "127.0.5.1"), "Host: a", "X: "+strings.Repeat("x", 2048))
	expectError(t, response, 431)
	expectRejected(t, e, rejection.HeaderSize, 1)
}

func TestEdge_LimitsConnectionsPerAddress(t *testing.T) {
	e := serve(t, func(o *Options) { o.MaxConnsPerAddress = 12 })
	for range 12 {
		edgetest.Dial(t, e.Addr(), "127.0.5.1")
	}
	edgetest.Until(t, "12 open connections", func() bool { n, _ := e.public.Held(); return n == 12 })
	_, err := io.Copy(io.Discard, edgetest.Dial(t, e.Addr(), "127.0.5.1"))
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Error("got the thirteenth connection open, want it closed")
	}
	expectRejected(t, e, rejection.Sockets, 1)
	if response, _ := handshake(t, edgetest.Dial(t, e.Addr(), "127.0.5.2"), "Host: a"); response.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("another address: got %s, want 101", response.Status)
	}
}

func TestOptions_ErrorsNameTheSetting(t *testing.T) {
	for want, set := range map[string]func(*Options){
		`--trusted-proxies: "0.0.0.0/0" is broader than /8`:         func(o *Options) { o.TrustedProxies = []string{"10.0.0.1", "0.0.0.0/0"} },
		`--trusted-proxies: "::/0" is broader than /16`:             func(o *Options) { o.TrustedProxies = []string{"::/0"} },
		`--cors-origins: "https://a.example/": want SCHEME://HOST`:  func(o *Options) { o.CORSOrigins = []string{"https://a.example/"} },
		`--cors-origins: want * alone`:                              func(o *Options) { o.CORSOrigins = []string{"*", "null"} },
		`--allowed-origins: "a.example"`:                            func(o *Options) { o.AllowedOrigins = []string{"a.example"} },
		`--proxy-protocol: want --trusted-proxies too`:              func(o *Options) { o.ProxyProtocol = true },
		`--forwarded-header "x-real-ip": want any or`:               func(o *Options) { o.ForwardedHeader = "x-real-ip" },
		`--limit-scope "world": want edge or cluster`:               func(o *Options) { o.LimitScope = "world" },
		`--limit-lease 1s: want 3s to 5m0s`:                         func(o *Options) { o.LimitLease = time.Second },
		`--handshakes-per-minute -1: want 0 or more`:                func(o *Options) { o.HandshakesPerMinute = -1 },
		`--max-conns-per-address 9: want --max-per-address (10) or`: func(o *Options) { o.MaxConnsPerAddress = 9 },
		`--max-header-bytes 100: want 1024 to 65536`:                func(o *Options) { o.MaxHeaderBytes = 100 },
		`--header-timeout 0s: want 100ms to 1m0s`:                   func(o *Options) { o.HeaderTimeout = 0 },
	} {
		o := Defaults()
		set(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
	if err := Defaults().Validate(); err != nil {
		t.Error(err)
	}
}
