//go:build deploy

package proxy

import (
	"net/http"
	"testing"

	"sightglass/infra/test/clientsim"
)

// TestBalancer_AllEdgesDown: the balancer says so, in the form of an edge's errors, and clients come back when one does.
func TestBalancer_AllEdgesDown(t *testing.T) {
	build(t, asShipped, nil, func(t *testing.T, env *environment) {
		const n = 20
		const nobody = `{"error":{"code":503,"message":"no edge is there; try again in a moment"}}`
		people := env.connect(n)
		for _, e := range env.edges {
			e.kill()
		}
		env.until(people, "everyone to have lost the connection, and someone to be told", func(s clientsim.Summary) bool {
			return s.Connected == 0 && s.Ends["answered 503"] > 0
		})
		for _, path := range []string{"/", "/api/v1/snapshot", "/ws/mempool"} {
			got := fetch(t, env.lb.addr, path, nil)
			if got.status != http.StatusServiceUnavailable || got.body != nobody || got.header.Get("Content-Type") != "application/json" ||
				got.header.Get("Retry-After") != "5" || got.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %+v", path, got)
			}
		}
		env.edges[1].start()
		env.until(people, "everyone to be back", func(s clientsim.Summary) bool { return s.Connected == n })
		s := people.Summary()
		t.Log(s)
		if s.Older > 0 {
			t.Errorf("someone was shown an older price: %v", s)
		}
	})
}
