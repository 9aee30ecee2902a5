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

// TestBalancer_PassesHTTPUnchanged: what a browser gets by way of the balancer is what the edge sends, to the byte.
func TestBalancer_PassesHTTPUnchanged(t *testing.T) {
	build(t, asShipped, nil, func(t *testing.T, env *environment) {
		env.silence() // the snapshot stays, and is stale soon, on both edges
		for _, e := range env.edges {
			programs.Until(t, "the edge to call the snapshot stale", func() bool {
				return strings.Contains(fetch(t, e.addr, "/api/v1/snapshot", nil).body, `"status":"stale"`)
			})
		}
		for _, path := range []string{"/", "/embed", "/static/client.js", "/api/v1/snapshot", "/api/openapi.json", "/livez", "/nowhere",
			"/metrics", "/debug/pprof/", "/ws/mempool"} {
			for name, header := range map[string]http.Header{
				"plain":      {"Accept-Encoding": {"identity"}},
				"gzip":       {"Accept-Encoding": {"gzip"}},
				"other page": {"Accept-Encoding": {"identity"}, "Origin": {"https://other.example"}},
			} {
				direct, proxied := fetch(t, env.edges[0].addr, path, header), fetch(t, env.lb.addr, path, header)
				expectSame(t, path+" "+name, direct, proxied)
				if tag := proxied.header.Get("ETag"); tag != "" {
					header = header.Clone()
					header.Set("If-None-Match", tag)
					if again := fetch(t, env.lb.addr, path, header); again.status != http.StatusNotModified {
						t.Errorf("%s %s: asked again with its ETag the answer is %d, want 304", path, name, again.status)
					}
				}
			}
		}
		if health := fetch(t, env.lb.addr, "/health", nil); health.status != http.StatusOK || !strings.Contains(health.body, `"clients_connected":0`) {
			t.Errorf("/health is %+v", health)
		}
		for _, path := range []string{"/metrics", "/debug/pprof/"} {
			if status := fetch(t, env.lb.addr, path, nil).status; status != http.StatusNotFound {
				t.Errorf("%s is answered with %d to anyone", path, status)
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

// hopByHop are the headers that are the balancer's own business.
var hopByHop = []string{"Date", "Server", "Connection", "Keep-Alive", "Upgrade"}

func expectSame(t *testing.T, what string, direct, proxied answer) {
	t.Helper()
	if direct.status != proxied.status {
		t.Errorf("%s: the edge says %d, the balancer %d", what, direct.status, proxied.status)
	}
	if direct.body != proxied.body {
		t.Errorf("%s: the body is another: %d bytes, %d bytes", what, len(direct.body), len(proxied.body))
	}
	for _, headers := range []http.Header{direct.header, proxied.header} {
		for name := range headers {
			if !slices.Contains(hopByHop, name) && !slices.Equal(direct.header[name], proxied.header[name]) {
				t.Errorf("%s: %s of the edge is %q, of the balancer %q", what, name, direct.header[name], proxied.header[name])
			}
		}
	}
}

// TestBalancer_PassesStreamsUnchanged: both protocols, with and without compression, each message as the edge made it.
func TestBalancer_PassesStreamsUnchanged(t *testing.T) {
	build(t, asShipped, nil, func(t *testing.T, env *environment) {
		url := wstest.URL(env.lb.addr)
		for i, o := range []websocket.DialOptions{
			{},
			{CompressionMode: websocket.CompressionNoContextTakeover},
			{Subprotocols: []string{delta}},
			{Subprotocols: []string{delta}, CompressionMode: websocket.CompressionNoContextTakeover},
			{HTTPHeader: http.Header{"Origin": {"http://" + env.lb.addr}}}, // our own page: the edge compares it with Host
		} {
			conn, handshake, err := wstest.Dial(t, url, person(i), o)
			if err != nil {
				t.Fatalf("%+v: %v", o, err)
			}
			agreed := strings.Contains(handshake.Header.Get("Sec-Websocket-Extensions"), "permessage-deflate")
			if wanted := o.CompressionMode != websocket.CompressionDisabled; agreed != wanted {
				t.Errorf("%+v: compression is agreed on: %v", o, agreed)
			}
			follow(t, conn, len(o.Subprotocols) > 0)
		}
		_, rejection, err := wstest.Dial(t, url, person(9), websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://other.example"}}})
		if err == nil || rejection.StatusCode != http.StatusForbidden {
			t.Errorf("a page of another origin: %v", err)
		}
	})
}

const delta = "sightglass.delta.v1"

// follow reads some snapshots, which must follow one another.
func follow(t *testing.T, conn *websocket.Conn, deltas bool) {
	t.Helper()
	var replica contract.Replica
	var last *contract.Snapshot
	take := contract.DecodeSnapshot
	if deltas {
		take = replica.Take
	}
	for range 4 {
		message, err := wstest.Read(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		s, err := take(message)
		if err != nil {
			t.Fatal(err)
		}
		if !s.NewerThan(last) || len(s.Transactions) != contract.MaxTransactions {
			t.Fatalf("seq %d with %d points after %+v", s.Seq, len(s.Transactions), last)
		}
		last = s
	}
}
