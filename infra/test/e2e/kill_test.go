package e2e

import (
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"sightglass/infra/test/internal/programs"
	"sightglass/shared/contract"
)

// TestEdge_ClientsOfKilledEdgeReconnect: after kill -9 of their edge clients reconnect to another one. They get the
// current state at once, and never an older one than before.
func TestEdge_ClientsOfKilledEdgeReconnect(t *testing.T) {
	env := start(t, 1)
	addr := programs.FreeAddr(t)
	killed := programs.Launch(t, programs.Build(t, "edge", "edge"), "run", "--listen", addr, "--redis", env.redis.URL())
	programs.Until(t, "the edge to be alive", func() bool { return programs.Alive(addr) })
	followers := make([]*follower, 5)
	before := make([]*contract.Snapshot, len(followers))
	for i := range followers {
		followers[i] = followStream(t, source(i), addr, env.edges[0].Addr().String())
		before[i] = followers[i].awaitNewer(t, nil)
	}
	if n := env.edges[0].Clients(); n != 0 {
		t.Fatalf("got %d clients on the other edge before the kill, want none", n)
	}
	killed.Signal(t, syscall.SIGKILL)
	for i, f := range followers {
		if reason := f.disconnected(t); websocket.CloseStatus(reason) > 0 {
			t.Errorf("got disconnected by %v, want no close code of a killed edge", reason)
		}
		f.awaitNewer(t, before[i])
	}
	programs.Until(t, "all clients to be on the other edge", func() bool { return env.edges[0].Clients() == len(followers) })
}
