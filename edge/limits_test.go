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

	"sightglass/edge/rejection"
)

// serve runs an edge until the test ends. It needs no Redis to take clients, and has none.
func serve(t *testing.T, set func(*Options)) *Edge {
	t.Helper()
	o := Defaults()
	o.Listen, o.Redis, o.Log = "127.0.0.1:0", "redis://127.0.0.1:1", slog.New(slog.DiscardHandler)
	o.DrainDelay, o.DrainWindow = 0, 0 // no balancer looks at it
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

// dial connects from an address of the loopback network.
func dial(t *testing.T, e *Edge, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func request(headers ...string) string {
	return "GET /ws/mempool HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + strings.Join(append(headers, "\r\n"), "\r\n")
}

// handshake asks for a WebSocket and gives the answer, and what comes after it.
func handshake(t *testing.T, conn net.Conn, headers ...string) (*http.Response, *bufio.Reader) {
	t.Helper()
	if _, err := io.WriteString(conn, request(headers...)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer, r
}

func expectError(t *testing.T, answer *http.Response, status int) {
	t.Helper()
	var body struct {
		Error struct {
			Code    int
			Message string
		}
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Errorf("the body: %v", err)
	}
	if answer.StatusCode != status || body.Error.Code != status || body.Error.Message == "" {
		t.Errorf("answered %d with %+v, want %d with an error of ours", answer.StatusCode, body, status)
	}
}

func expectRefused(t *testing.T, e *Edge, why rejection.Reason, want int) {
	t.Helper()
	until(t, fmt.Sprintf("%d refused for %q", want, why), func() bool { return refused(t, e, why) == want })
}

func refused(t *testing.T, e *Edge, why rejection.Reason) int {
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
	t.Fatalf("no series for %q", why)
	return 0
}

// until polls a condition of the running edge.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !met() {
		select {
		case <-deadline:
			t.Fatalf("waited 30 s for %s", what)
		case <-poll.C:
		}
	}
}

func TestOriginsAreLookedAtBeforeTheUpgrade(t *testing.T) {
	e := serve(t, func(o *Options) { o.AllowedOrigins = []string{"https://b.example", "tauri://localhost"} })
	foreign := 0
	for name, c := range map[string]struct {
		headers []string
		status  int
	}{
		"none":                     {[]string{"Host: a.example"}, 101},
		"the same":                 {[]string{"Host: a.example", "Origin: https://a.example"}, 101},
		"listed":                   {[]string{"Host: a.example", "Origin: https://b.example"}, 101},
		"another":                  {[]string{"Host: a.example", "Origin: https://evil.example"}, 403},
		"null":                     {[]string{"Host: a.example", "Origin: null"}, 403},
		"an application's, listed": {[]string{"Host: a.example", "Origin: tauri://localhost"}, 101},
		"another application's":    {[]string{"Host: a.example", "Origin: capacitor://localhost"}, 403},
		"an application's that is named as we are": {[]string{"Host: localhost", "Origin: ionic://localhost"}, 403},
		"two": {[]string{"Host: a.example", "Origin: https://a.example", "Origin: https://evil.example"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			answer, _ := handshake(t, dial(t, e, "127.0.5.1"), c.headers...)
			if c.status == 403 {
				expectError(t, answer, 403)
				foreign++
			} else if answer.StatusCode != c.status {
				t.Errorf("answered %s, want %d", answer.Status, c.status)
			}
		})
	}
	expectRefused(t, e, rejection.Origin, foreign)
}

// TestOriginNullIsAWordOfItsOwn: it lets pages without an origin in, and nobody else.
func TestOriginNullIsAWordOfItsOwn(t *testing.T) {
	e := serve(t, func(o *Options) { o.AllowedOrigins = []string{"null"} })
	for page, want := range map[string]int{"null": 101, "https://null": 403, "NULL": 403, "": 403, "https://evil.example": 403} {
		if answer, _ := handshake(t, dial(t, e, "127.0.5.1"), "Host: a.example", "Origin: "+page); answer.StatusCode != want {
			t.Errorf("%q: answered %s, want %d", page, answer.Status, want)
		}
	}
}

func TestHandshakesPerMinute(t *testing.T) {
	e := serve(t, func(o *Options) { o.HandshakesPerMinute = 3 })
	for range 3 {
		if answer, _ := handshake(t, dial(t, e, "127.0.5.1"), "Host: a"); answer.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("answered %s", answer.Status)
		}
	}
	answer, _ := handshake(t, dial(t, e, "127.0.5.1"), "Host: a")
	expectError(t, answer, 429)
	if after := answer.Header.Get("Retry-After"); after != "20" {
		t.Errorf("Retry-After is %q, want 20", after)
	}
	expectRefused(t, e, rejection.HandshakeRate, 1)
	if answer, _ := handshake(t, dial(t, e, "127.0.5.2"), "Host: a"); answer.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("another address: answered %s", answer.Status)
	}
}

// TestWhoIsCounted: a place is taken by one address; whether the second connection gets one tells whose it is.
func TestWhoIsCounted(t *testing.T) {
	const proxy, stranger = "127.0.2.1", "127.0.3.1"
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
		"a stranger forges":                {"any", stranger, []string{"X-Forwarded-For: 1.1.1.1"}, []string{"X-Forwarded-For: 2.2.2.2", "Forwarded: for=3.3.3.3"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, func(o *Options) {
				o.MaxPerAddress, o.TrustedProxies, o.ForwardedHeader = 1, []string{"127.0.2.0/24"}, c.setting
			})
			handshake(t, dial(t, e, c.from), append(c.first, "Host: a")...)
			until(t, "the first to join", func() bool { return e.Clients() == 1 })
			_, r := handshake(t, dial(t, e, c.from), append(c.second, "Host: a")...)
			if c.same {
				expectClose(t, r, 4029)
				expectRefused(t, e, rejection.Address, 1)
				return
			}
			until(t, "the second to join", func() bool { return e.Clients() == 2 })
		})
	}
}

// expectClose reads a WebSocket close frame.
func expectClose(t *testing.T, r io.Reader, code int) {
	t.Helper()
	frame := make([]byte, 4) // FIN and opcode, length, code
	if _, err := io.ReadFull(r, frame); err != nil {
		t.Fatal(err)
	}
	if got := int(frame[2])<<8 | int(frame[3]); frame[0] != 0x88 || got != code {
		t.Errorf("got frame % x (%d), want to be closed with %d", frame, got, code)
	}
}

// TestAKeptAliveConnectionsAddressesAreCopies: fasthttp reuses a request's buffers for the next on the same connection.
func TestAKeptAliveConnectionsAddressesAreCopies(t *testing.T) {
	e := serve(t, func(o *Options) { o.HandshakesPerMinute, o.TrustedProxies = 1, []string{"127.0.2.0/24"} })
	conn := dial(t, e, "127.0.2.1")
	r := bufio.NewReader(conn)
	ask := func(client string) int { // without a key, so that it stays HTTP
		t.Helper()
		if _, err := fmt.Fprintf(conn, "GET /ws/mempool HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nX-Forwarded-For: %s\r\n\r\n", client); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
	for _, client := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
		if status := ask(client); status == 429 {
			t.Errorf("%s has asked for nothing before and got 429", client)
		}
	}
	for _, client := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
		if status := ask(client); status != 429 {
			t.Errorf("%s has had its one handshake a minute and got %d", client, status)
		}
	}
}

func TestTheProxyProtocolReachesTheHub(t *testing.T) {
	e := serve(t, func(o *Options) {
		o.MaxPerAddress, o.TrustedProxies, o.ProxyProtocol = 1, []string{"127.0.2.0/24", "192.0.2.7"}, true
	})
	connect := func(line string, headers ...string) io.Reader {
		t.Helper()
		conn := dial(t, e, "127.0.2.1")
		if _, err := io.WriteString(conn, line); err != nil {
			t.Fatal(err)
		}
		_, r := handshake(t, conn, append(headers, "Host: a")...)
		return r
	}
	connect("PROXY TCP4 198.51.100.1 192.0.2.1 4711 80\r\n")
	until(t, "the first to join", func() bool { return e.Clients() == 1 })
	expectClose(t, connect("PROXY TCP4 198.51.100.1 192.0.2.1 4712 80\r\n", "X-Forwarded-For: 6.6.6.6"), 4029)
	connect("PROXY TCP4 198.51.100.2 192.0.2.1 4713 80\r\n")
	until(t, "another address to join", func() bool { return e.Clients() == 2 })
	expectClose(t, connect("PROXY TCP4 192.0.2.7 192.0.2.1 4714 80\r\n", "X-Forwarded-For: 198.51.100.2"), 4029)
}

func TestAForgedProxyLineIsNoHTTP(t *testing.T) {
	e := serve(t, func(o *Options) { o.TrustedProxies, o.ProxyProtocol = []string{"127.0.2.0/24"}, true })
	conn := dial(t, e, "127.0.3.1")
	if _, err := io.WriteString(conn, "PROXY TCP4 198.51.100.1 192.0.2.1 4711 80\r\n"+request("Host: a")); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil && answer.StatusCode == http.StatusSwitchingProtocols {
		t.Error("the handshake went through")
	}
}

func TestSlowHeadersAreCut(t *testing.T) {
	for name, before := range map[string]string{
		"at once":                "",
		"after one good request": "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, func(o *Options) { o.HeaderTimeout = 300 * time.Millisecond })
			conn := dial(t, e, "127.0.5.1")
			if _, err := io.WriteString(conn, before); err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, conn)
				closed <- err
			}()
			drip := time.NewTicker(5 * time.Millisecond) // each byte well within any patience
			defer drip.Stop()
			all := "GET /livez HTTP/1.1\r\nX: " + strings.Repeat("x", 3000)
			for i := 0; ; i++ {
				select {
				case err := <-closed:
					if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
						t.Error("the edge waits for the headers for ever")
					}
					expectRefused(t, e, rejection.HeaderTime, 1)
					return
				case <-drip.C:
					if i == len(all) {
						t.Fatal("all bytes were taken")
					}
					io.WriteString(conn, all[i:i+1]) //nolint:errcheck // an error is what we wait for, above
				}
			}
		})
	}
}

func TestLargeHeaders(t *testing.T) {
	e := serve(t, func(o *Options) { o.MaxHeaderBytes = 2048 })
	answer, _ := handshake(t, dial(t, e, "127.0.5.1"), "Host: a", "X: "+strings.Repeat("x", 1024))
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("answered %s under the limit", answer.Status)
	}
	answer, _ = handshake(t, dial(t, e, "127.0.5.1"), "Host: a", "X: "+strings.Repeat("x", 2048))
	expectError(t, answer, 431)
	expectRefused(t, e, rejection.HeaderSize, 1)
}

func TestIdleConnectionsAreBounded(t *testing.T) {
	e := serve(t, func(o *Options) { o.MaxConnsPerAddress = 12 })
	for range 12 {
		dial(t, e, "127.0.5.1")
	}
	until(t, "all to be held", func() bool { n, _ := e.public.Held(); return n == 12 })
	_, err := io.Copy(io.Discard, dial(t, e, "127.0.5.1"))
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Error("the thirteenth is kept")
	}
	expectRefused(t, e, rejection.Sockets, 1)
	if answer, _ := handshake(t, dial(t, e, "127.0.5.2"), "Host: a"); answer.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("another address: answered %s", answer.Status)
	}
}

func TestSettingsThatAreWrongAreNamed(t *testing.T) {
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
