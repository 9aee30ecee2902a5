package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/shared/contract"
)

func TestEdge_HTTPEndpoints(t *testing.T) {
	env := start(t, 1)
	e := env.edges[0]

	t.Run("health", func(t *testing.T) {
		v := view(t, e, source(0))
		if _, err := v.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		var health map[string]any
		if code := getJSON(t, e, "/health", &health); code != http.StatusOK {
			t.Errorf("got status %d, want 200", code)
		}
		if got := sortedKeys(health); !slices.Equal(got, []string{"clients_connected", "mempool_active_txs", "status", "uptime_seconds"}) {
			t.Errorf("got keys %v, want the documented ones", got)
		}
		if health["status"] != "ok" || health["clients_connected"] != 1.0 || health["mempool_active_txs"].(float64) < 1000 {
			t.Errorf("got %v, want ok with one client and over 1000 transactions", health)
		}
	})
	t.Run("the snapshot has the contract's keys", func(t *testing.T) {
		var got, golden map[string]any
		getJSON(t, e, "/api/v1/snapshot", &got)
		data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "contract", "testdata", "snapshot.json"))
		if err != nil {
			t.Fatal(err)
		}
		unmarshal(t, data, &golden)
		sameShape(t, "snapshot", got, golden)
	})
	t.Run("the same snapshot is not sent again", func(t *testing.T) {
		env.redis.Kill() // so that no new snapshot arrives
		defer env.redis.Start()
		programs.Until(t, "a stale snapshot", func() bool {
			code, body := get(t, e, "/api/v1/snapshot")
			s, err := contract.DecodeSnapshot(body)
			return code == http.StatusOK && err == nil && s.Status == contract.Stale
		})
		first := request(t, "GET", e, "/api/v1/snapshot", nil)
		again := request(t, "GET", e, "/api/v1/snapshot", http.Header{"If-None-Match": {first.Header.Get("ETag")}})
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("got status %d, want 200", again.StatusCode)
		}
		var health struct{ Status string }
		getJSON(t, e, "/health", &health)
		if ready := request(t, "GET", e, "/readyz", nil); health.Status != "degraded" || ready.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("without redis: got health %q and readyz %d, want degraded and 503", health.Status, ready.StatusCode)
		}
	})
	t.Run("page", func(t *testing.T) {
		page := request(t, "GET", e, "/", nil)
		if page.StatusCode != http.StatusOK || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
			t.Errorf("got %d with Content-Type %s, want 200 with text/html", page.StatusCode, page.Header.Get("Content-Type"))
		}
		if !strings.Contains(page.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Error("got no content security policy, want default-src 'none'")
		}
	})
	for name, c := range map[string]struct {
		method, path string
		want         int
	}{
		"alive":                 {"GET", "/livez", 200},
		"head":                  {"HEAD", "/api/v1/snapshot", 200},
		"an unknown path":       {"GET", "/api/v2/snapshot", 404},
		"a path traversal":      {"GET", "/static/../web.go", 404},
		"an unsupported method": {"POST", "/api/v1/snapshot", 405},
		"no websocket":          {"GET", "/ws/mempool", 426},
		"a script":              {"GET", "/static/app.js", 200},
		"about the operator":    {"GET", "/api/v1/about", 200},
		"a folder":              {"GET", "/static/", 404},
	} {
		t.Run(name, func(t *testing.T) {
			if got := request(t, c.method, e, c.path, nil).StatusCode; got != c.want {
				t.Errorf("%s %s: got status %d, want %d", c.method, c.path, got, c.want)
			}
		})
	}
}

func TestEdge_NotReadyBeforeFirstSnapshot(t *testing.T) {
	server := redistest.Start(t)
	e := edgeWith(t, server, unchanged)
	none := request(t, "GET", e, "/api/v1/snapshot", nil)
	if none.StatusCode != http.StatusServiceUnavailable || none.Header.Get("Retry-After") == "" {
		t.Errorf("got status %d with Retry-After %q, want 503 with Retry-After", none.StatusCode, none.Header.Get("Retry-After"))
	}
	var failure struct {
		Error struct {
			Code    int
			Message string
		}
	}
	if getJSON(t, e, "/api/v1/snapshot", &failure); failure.Error.Code != 503 || failure.Error.Message == "" {
		t.Errorf("got %+v, want code 503 with a message", failure)
	}
	if ready := request(t, "GET", e, "/readyz", nil); ready.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz without a snapshot: got status %d, want 503", ready.StatusCode)
	}
	var health struct{ Status string }
	if getJSON(t, e, "/health", &health); health.Status != "degraded" {
		t.Errorf("got health %q, want degraded", health.Status)
	}
}
