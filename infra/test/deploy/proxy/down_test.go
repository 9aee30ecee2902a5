//go:build deploy

package proxy

import (
	"net/http"
	"testing"

	"sightglass/infra/test/clientsim"
)

// TestBalancer_AllEdgesDown: the balancer returns an error in an edge's format, and clients reconnect when an edge is
// back.
func TestBalancer_AllEdgesDown(t *testing.T) {
	build(t, asShipped, nil, func(t *testing.T, env *environment) {
		const n = 20
		const down = `{"error":{"code":503,"message":"no edge is available; try again in a moment"}}`
		clients := env.connect(n)
		for _, e := range env.edges {
			e.kill()
		}
		env.until(clients, "every client to be disconnected, and one to get 503", func(s clientsim.Summary) bool {
			return s.Connected == 0 && s.Ends["answered 503"] > 0
		})
		for _, path := range []string{"/", "/api/v1/snapshot", "/ws/mempool"} {
			got := fetch(t, env.lb.addr, path, nil)
			if got.status != http.StatusServiceUnavailable || got.body != down || got.header.Get("Content-Type") != "application/json" ||
				got.header.Get("Retry-After") != "5" || got.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: got %+v, want 503 with the error", path, got)
			}
		}
		env.edges[1].start()
		env.until(clients, "every client to reconnect", func(s clientsim.Summary) bool { return s.Connected == n })
		s := clients.Summary()
		t.Log(s)
		if s.Older > 0 {
			t.Errorf("got older snapshots, want none: %v", s)
		}
	})
}
