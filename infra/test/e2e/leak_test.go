package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/infra/test/internal/wstest"
	"sightglass/shared/contract"
)

const (
	upgrade = "GET /ws/mempool HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	maskedPing  = "\x89\x84\x00\x00\x00\x00ping"
	maskedClose = "\x88\x82\x00\x00\x00\x00\x03\xe8"
)

// A stage is the point at which a client disconnects.
type stage struct {
	send  string // at first
	await bool   // wait for the handshake's response
	then  string // after the response
	drain bool   // read until the edge closes the connection
	reset bool   // send RST instead of FIN
}

var stages = map[string]stage{
	"connected":                    {},
	"connected, reset":             {reset: true},
	"half the request line":        {send: upgrade[:10]},
	"half the request line, reset": {send: upgrade[:10], reset: true},
	"half the headers":             {send: upgrade[:80]},
	"half the headers, reset":      {send: upgrade[:80], reset: true},
	"response not awaited":         {send: upgrade},
	"response not awaited, reset":  {send: upgrade, reset: true},
	"answered":                     {send: upgrade, await: true},
	"response awaited, reset":      {send: upgrade, await: true, reset: true},
	"in the middle of a frame":     {send: upgrade, await: true, then: maskedPing[:3]},
	"in a frame, reset":            {send: upgrade, await: true, then: maskedPing[:7], reset: true},
	"after a frame, reset":         {send: upgrade, await: true, then: maskedPing, reset: true},
	"closing handshake":            {send: upgrade, await: true, then: maskedClose, drain: true},
	"another origin":               {send: upgrade[:len(upgrade)-2] + "Origin: http://evil.example\r\n\r\n", await: true},
	"not a WebSocket":              {send: "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", await: true},
	"no HTTP":                      {send: "\x16\x03\x01 as TLS begins\r\n\r\n", drain: true, reset: true},
}

// run connects up to the stage and disconnects. It reports whether a WebSocket was opened, and ignores errors.
func (s stage) run(addr net.Addr, from net.IP) (opened bool) {
	dialed, err := net.DialTCP("tcp", &net.TCPAddr{IP: from}, addr.(*net.TCPAddr))
	if err != nil {
		return false
	}
	defer dialed.Close()
	if s.reset {
		dialed.SetLinger(0) //nolint:errcheck // without it the end is a FIN
	}
	if dialed.SetDeadline(time.Now().Add(30*time.Second)) != nil {
		return false
	}
	if _, err := io.WriteString(dialed, s.send); err != nil {
		return false
	}
	if s.await {
		answer, err := http.ReadResponse(bufio.NewReaderSize(dialed, 16), nil)
		if err != nil {
			return false
		}
		answer.Body.Close()
		opened = answer.StatusCode == http.StatusSwitchingProtocols
	}
	io.WriteString(dialed, s.then) //nolint:errcheck // the edge may have closed the connection
	if s.drain {
		io.Copy(io.Discard, dialed) //nolint:errcheck // likewise
	}
	return opened
}

// TestEdge_GaugesReturnToZero: many clients at once, more than the limits allow, disconnect at every stage. Then every
// count is zero, and new clients are accepted.
func TestEdge_GaugesReturnToZero(t *testing.T) {
	const workers, rounds, sources = 32, 8, 2
	for _, scope := range []string{"edge", "cluster"} {
		t.Run(scope, func(t *testing.T) {
			server, metrics := redistest.Start(t), programs.FreeAddr(t)
			e := fleet(t, server, 1, func(o *edge.Options) {
				o.LimitScope, o.InternalListen, o.MaxConnsPerAddress = scope, metrics, perAddress+4
			})[0]
			var opened, broken atomic.Int64
			var working sync.WaitGroup
			for n := range workers {
				working.Go(func() {
					for range rounds {
						for _, s := range stages { // in random order
							if s.run(e.Addr(), source(n%sources)) {
								opened.Add(1)
							} else {
								broken.Add(1)
							}
						}
					}
				})
			}
			working.Wait()
			t.Logf("%d WebSockets and %d other connections", opened.Load(), broken.Load())
			if opened.Load() == 0 {
				t.Error("got no WebSocket from any handshake, want some")
			}
			programs.Until(t, "all gauges to be zero", func() bool { return e.Clients() == 0 && allZero(t, metrics) })
			client := server.Client()
			programs.Until(t, "no leases in redis", func() bool { return len(client.Keys(t.Context(), contract.KeyLimitPrefix+"*").Val()) == 0 })
			for n := range sources {
				wstest.MustJoin(t, perAddress, source(n), e.Addr())
				wstest.MustNotJoin(t, source(n), e.Addr())
			}
		})
	}
}

// allZero reports whether the edge's gauges of clients and connections are zero.
func allZero(t *testing.T, addr string) bool {
	t.Helper()
	http.DefaultClient.CloseIdleConnections() // the tests' own
	text := scrape(t, addr)
	for _, name := range []string{"sightglass_client_addresses", "sightglass_edge_sockets", "sightglass_edge_socket_addresses"} {
		value, ok := metric(text, name)
		if !ok {
			t.Fatalf("got no metric %s in:\n%s", name, text)
		}
		if value != 0 {
			return false
		}
	}
	return true
}

func scrape(t *testing.T, addr string) string {
	t.Helper()
	text, err := programs.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEdge_RecoversFromDescriptorExhaustion: more clients connect than the process may open files. After they leave,
// the edge accepts connections again.
func TestEdge_RecoversFromDescriptorExhaustion(t *testing.T) {
	addr, metrics := programs.FreeAddr(t), programs.FreeAddr(t)
	programs.Launch(t, "/bin/sh", "-c", `ulimit -n 64; exec "$0" run --listen "$1" --internal-listen "$2"`, programs.Build(t, "edge", "edge"), addr, metrics)
	programs.Until(t, "the edge to be alive", func() bool { return programs.Alive(addr) })
	var all []net.Conn
	for n := range 120 {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: source(n / 20)}}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		all = append(all, conn)
	}
	const rejected = `sightglass_edge_rejected_total{reason="descriptors"}`
	for _, conn := range all {
		conn.Close()
	}
	programs.Until(t, "the edge to be alive again", func() bool { return programs.Alive(addr) })
	if n, ok := metric(scrape(t, metrics), rejected); !ok || n == 0 {
		t.Error("got no rejection for descriptors, want some")
	}
}

// metric returns a series' value from the text of /metrics.
func metric(text, series string) (value float64, ok bool) {
	for line := range strings.Lines(text) {
		if s, found := strings.CutPrefix(line, series+" "); found {
			v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			return v, err == nil
		}
	}
	return 0, false
}
