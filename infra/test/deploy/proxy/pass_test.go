//go:build deploy

package proxy

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/wstest"
	"sightglass/shared/contract"
)

// TestBalancer_PassesHTTPUnchanged: a response through the balancer equals the edge's, byte for byte.
func TestBalancer_PassesHTTPUnchanged(t *testing.T) {
	build(t, asShipped, nil, func(t *testing.T, env *environment) {
		env.silence() // both edges keep the snapshot, which is stale soon
		for _, e := range env.edges {
			programs.Until(t, "a stale snapshot", func() bool {
				return strings.Contains(fetch(t, e.addr, "/api/v1/snapshot", nil).body, `"status":"stale"`)
			})
		}
		for _, path := range []string{"/", "/embed", "/static/client.js", "/api/v1/snapshot", "/api/openapi.json", "/livez", "/nowhere",
			"/metrics", "/debug/pprof/", "/ws/mempool"} {
			for name, header := range map[string]http.Header{
				"plain":        {"Accept-Encoding": {"identity"}},
				"gzip":         {"Accept-Encoding": {"gzip"}},
				"other origin": {"Accept-Encoding": {"identity"}, "Origin": {"https://other.example"}},
			} {
				direct, proxied := fetch(t, env.edges[0].addr, path, header), fetch(t, env.lb.addr, path, header)
				expectSame(t, path+" "+name, direct, proxied)
				if tag := proxied.header.Get("ETag"); tag != "" {
					header = header.Clone()
					header.Set("If-None-Match", tag)
					if again := fetch(t, env.lb.addr, path, header); again.status != http.StatusNotModified {
						t.Errorf("%s %s: got %d with its ETag, want 304", path, name, again.status)
					}
				}
			}
		}
		if health := fetch(t, env.lb.addr, "/health", nil); health.status != http.StatusOK || !strings.Contains(health.body, `"clients_connected":0`) {
			t.Errorf("/health: got %+v, want 200 without clients", health)
		}
		for _, path := range []string{"/metrics", "/debug/pprof/"} {
			if status := fetch(t, env.lb.addr, path, nil).status; status != http.StatusNotFound {
				t.Errorf("%s: got %d, want 404", path, status)
			}
		}
	})
}

type answer struct {
	status int
	header http.Header
	body   string
}

func fetch(t *testing.T, addr, path string, header http.Header) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(request.Header, header)
	got, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{got.StatusCode, got.Header, string(body)}
}

// hopByHop are the headers that the balancer may set itself.
var hopByHop = []string{"Date", "Server", "Connection", "Keep-Alive", "Upgrade"}

func expectSame(t *testing.T, what string, direct, proxied answer) {
	t.Helper()
	if direct.status != proxied.status {
		t.Errorf("%s: got status %d, want the edge's %d", what, proxied.status, direct.status)
	}
	if direct.body != proxied.body {
		t.Errorf("%s: got another body of %d bytes, want the edge's of %d bytes", what, len(proxied.body), len(direct.body))
	}
	for _, headers := range []http.Header{direct.header, proxied.header} {
		for name := range headers {
			if !slices.Contains(hopByHop, name) && !slices.Equal(direct.header[name], proxied.header[name]) {
				t.Errorf("%s: got %s %q, want the edge's %q", what, name, proxied.header[name], direct.header[name])
			}
		}
	}
}

// TestBalancer_PassesStreamsUnchanged: both protocols, with and without compression, each message unchanged.
func TestBalancer_PassesStreamsUnchanged(t *testing.T) {
	build(t, asShipped, nil, func(t *testing.T, env *environment) {
		url := wstest.URL(env.lb.addr)
		for i, o := range []websocket.DialOptions{
			{},
			{CompressionMode: websocket.CompressionNoContextTakeover},
			{Subprotocols: []string{delta}},
			{Subprotocols: []string{delta}, CompressionMode: websocket.CompressionNoContextTakeover},
			{HTTPHeader: http.Header{"Origin": {"http://" + env.lb.addr}}}, // the edge's own page: the edge compares Origin with Host
		} {
			conn, handshake, err := wstest.Dial(t, url, source(i), o)
			if err != nil {
				t.Fatalf("%+v: got %v, want a connection", o, err)
			}
			agreed := strings.Contains(handshake.Header.Get("Sec-Websocket-Extensions"), "permessage-deflate")
			if wanted := o.CompressionMode != websocket.CompressionDisabled; agreed != wanted {
				t.Errorf("%+v: got compression %v, want %v", o, agreed, wanted)
			}
			follow(t, conn, len(o.Subprotocols) > 0)
		}
		_, rejection, err := wstest.Dial(t, url, source(9), websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://other.example"}}})
		if err == nil || rejection.StatusCode != http.StatusForbidden {
			t.Errorf("another origin: got %v, want 403", err)
		}
	})
}

const delta = "sightglass.delta.v1"

// follow reads some snapshots, which must be consecutive.
func follow(t *testing.T, conn *websocket.Conn, deltas bool) {
	t.Helper()
	var replica contract.Replica
	var last *contract.Snapshot
	decode := contract.DecodeSnapshot
	if deltas {
		decode = replica.Apply
	}
	for range 4 {
		message, err := wstest.Read(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		s, err := decode(message)
		if err != nil {
			t.Fatal(err)
		}
		if !s.NewerThan(last) || len(s.Transactions) != contract.MaxTransactions {
			t.Fatalf("got seq %d with %d points after %+v, want the next one", s.Seq, len(s.Transactions), last)
		}
		last = s
	}
}
