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

// A stage is how far a client goes before it breaks off.
type stage struct {
	send  string // at first
	await bool   // the answer to the handshake
	then  string // after it
	hear  bool   // everything, until the edge hangs up
	reset bool   // instead of an orderly end
}

var stages = map[string]stage{
	"connected":                    {},
	"connected, reset":             {reset: true},
	"half the request line":        {send: upgrade[:10]},
	"half the request line, reset": {send: upgrade[:10], reset: true},
	"half the headers":             {send: upgrade[:80]},
	"half the headers, reset":      {send: upgrade[:80], reset: true},
	"no answer awaited":            {send: upgrade},
	"no answer awaited, reset":     {send: upgrade, reset: true},
	"answered":                     {send: upgrade, await: true},
	"answered, reset":              {send: upgrade, await: true, reset: true},
	"in the middle of a frame":     {send: upgrade, await: true, then: maskedPing[:3]},
	"in a frame, reset":            {send: upgrade, await: true, then: maskedPing[:7], reset: true},
	"after a frame, reset":         {send: upgrade, await: true, then: maskedPing, reset: true},
	"closed as it should be":       {send: upgrade, await: true, then: maskedClose, hear: true},
	"another origin's":             {send: upgrade[:len(upgrade)-2] + "Origin: http://evil.example\r\n\r\n", await: true},
	"not a WebSocket":              {send: "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", await: true},
	"no HTTP":                      {send: "\x16\x03\x01 as TLS begins\r\n\r\n", hear: true, reset: true},
}

// run goes through a stage. It reports whether a WebSocket came of it; nothing in here has to work out.
func (s stage) run(addr net.Addr, from net.IP) (opened bool) {
	dialed, err := net.DialTCP("tcp", &net.TCPAddr{IP: from}, addr.(*net.TCPAddr))
	if err != nil {
		return false
	}
	defer dialed.Close()
	if s.reset {
		dialed.SetLinger(0) //nolint:errcheck // the worst is an orderly end
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
	io.WriteString(dialed, s.then) //nolint:errcheck // the edge may have hung up
	if s.hear {
		io.Copy(io.Discard, dialed) //nolint:errcheck // likewise
	}
	return opened
}

// TestEdge_GaugesReturnToZero: clients break off at every stage, many at once and more than may be here, and in the end nothing
// is counted and everyone may come again.
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
						for _, s := range stages { // in another order each time
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
			t.Logf("%d WebSockets and %d others", opened.Load(), broken.Load())
			if opened.Load() == 0 {
				t.Error("no WebSocket came of any handshake")
			}
			programs.Until(t, "all counts to be zero", func() bool { return e.Clients() == 0 && allZero(t, metrics) })
			client := server.Client()
			programs.Until(t, "redis to count nobody", func() bool { return len(client.Keys(t.Context(), contract.KeyLimitPrefix+"*").Val()) == 0 })
			for n := range sources {
				wstest.MustJoin(t, perAddress, source(n), e.Addr())
				wstest.MustNotJoin(t, source(n), e.Addr())
			}
		})
	}
}

// allZero reports whether nothing is held, by the edge's metrics.
func allZero(t *testing.T, addr string) bool {
	t.Helper()
	http.DefaultClient.CloseIdleConnections() // of the tests themselves
	text := scrape(t, addr)
	for _, name := range []string{"sightglass_client_addresses", "sightglass_edge_sockets", "sightglass_edge_socket_addresses"} {
		value, ok := metric(text, name)
		if !ok {
			t.Fatalf("no metric %s in:\n%s", name, text)
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

// TestEdge_RecoversFromDescriptorExhaustion: more connect than the process may have files, and when they leave it goes on.
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
	const refused = `sightglass_edge_rejected_total{reason="descriptors"}`
	for _, conn := range all {
		conn.Close()
	}
	programs.Until(t, "the edge to be alive again", func() bool { return programs.Alive(addr) })
	if n, ok := metric(scrape(t, metrics), refused); !ok || n == 0 {
		t.Error("the process never ran out of descriptors")
	}
}

// metric finds a series in what /metrics answers.
func metric(text, series string) (value float64, ok bool) {
	for line := range strings.Lines(text) {
		if s, found := strings.CutPrefix(line, series+" "); found {
			v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			return v, err == nil
		}
	}
	return 0, false
}
