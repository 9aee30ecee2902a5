//go:build deploy

package proxy

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"sightglass/infra/test/clientsim"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/wstest"
)

const rejectedDraining = `sightglass_edge_rejected_total{reason="draining"}`

// TestBalancer_DrainingEdgeGetsNoNewClients: the edge's clients stay connected until it closes them.
func TestBalancer_DrainingEdgeGetsNoNewClients(t *testing.T) {
	// Long enough for the checks before the first client is closed.
	build(t, asShipped, []string{"--drain-delay", "10s", "--drain-window", "1s"}, func(t *testing.T, env *environment) {
		const n = 20
		clients := env.connect(n)
		going, staying := env.edges[0], env.edges[1]
		had := going.clients()
		if had == 0 || had == n {
			t.Fatalf("got %d and %d clients on the edges, want both above 0", had, staying.clients())
		}
		going.process.Signal(t, syscall.SIGTERM)
		programs.Until(t, "the edge not to be ready", func() bool { return !programs.Ready(going.addr) })
		checks := env.kind.out != nil
		if checks {
			programs.Until(t, "the balancer's check to fail", func() bool { return env.kind.out(t, env.lb, 0) })
		}
		before := going.metric(rejectedDraining)
		for i := range 5 {
			if code := join(t, wstest.URL(env.lb.addr), source(i), nil); code != 0 {
				t.Errorf("client %d while an edge drains: got close code %d, want none", i+1, code)
			}
		}
		if still := going.clients(); still != had {
			t.Errorf("got %d clients on the draining edge, want the previous %d", still, had)
		}
		if asked := going.metric(rejectedDraining) - before; checks && asked > 0 {
			t.Errorf("got %d handshakes at the draining edge, want none", asked)
		}
		if s := clients.Summary(); s.Connected != n || s.Reconnects != 0 {
			t.Errorf("before the drain closes clients: got %v, want all connected", s)
		}
		going.process.Wait()
		env.until(clients, "its clients to reconnect to the other edge", func(s clientsim.Summary) bool { return s.Connected == n && staying.clients() == n+5 })
		s := clients.Summary()
		t.Log(s)
		if s.Reconnects != had || s.Ends["closed with 1001"] != had || len(s.Ends) != 1 || s.Older > 0 {
			t.Errorf("got %v, want %d reconnects after 1001", s, had)
		}
	})
}

// longestGap bounds the time that a client has no price while all edges are restarted.
const longestGap = 3 * time.Second

// TestBalancer_RollingRestart stops and starts every edge, one after the other, with the shipped settings.
func TestBalancer_RollingRestart(t *testing.T) {
	program := programs.Build(t, "edge", "edge")
	each(t, func(t *testing.T, k kind) { // sequential, as the test measures seconds
		env := newEnvironment(t, program, k, asShipped, nil)
		const n = 500
		clients := env.connect(n)
		for i, e := range env.edges {
			e.stop()
			e.start()
			if env.kind.out != nil {
				programs.Until(t, fmt.Sprintf("the balancer to use edge %d again", i+1), func() bool { return !env.kind.out(t, env.lb, i) })
			}
		}
		now := env.redis.Snapshot()
		if now == nil {
			t.Fatal("got no snapshot in redis")
		}
		env.until(clients, "every client to catch up", func(clientsim.Summary) bool { return clients.CaughtUp(now) == n })
		s := clients.Summary()
		t.Log(s)
		if s.Gap > longestGap || s.Older > 0 {
			t.Errorf("got a longer gap or an older snapshot, want at most %v and none", longestGap)
		}
		if s.Reconnects < n {
			t.Errorf("got %d reconnects, want more, as every edge is restarted", s.Reconnects)
		}
	})
}

// TestBalancer_KilledEdge: its clients reconnect to the other edge, and no new client is routed to it.
func TestBalancer_KilledEdge(t *testing.T) {
	build(t, asShipped, nil, func(t *testing.T, env *environment) {
		const n = 20
		clients := env.connect(n)
		env.edges[0].kill()
		for i := range 5 {
			if code := join(t, wstest.URL(env.lb.addr), source(i), nil); code != 0 {
				t.Errorf("client %d after an edge was killed: got close code %d, want none", i+1, code)
			}
		}
		env.until(clients, "its clients to reconnect to the other edge", func(s clientsim.Summary) bool { return s.Connected == n && env.edges[1].clients() == n+5 })
		t.Log(clients.Summary())
	})
}

// TestHAProxy_RetriesOtherEdgeBeforeCheckFails: HAProxy retries a handshake at another edge if the first one drains or
// is down.
func TestHAProxy_RetriesOtherEdgeBeforeCheckFails(t *testing.T) {
	program := programs.Build(t, "edge", "edge")
	blind := func(config string) string {
		return replace(t, config, "inter 500ms fastinter 250ms downinter 500ms", "inter 1h")
	}
	for name, signal := range map[string]syscall.Signal{"draining": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			env := newEnvironment(t, program, haproxy, blind, []string{"--drain-delay", "1m"})
			gone := env.edges[0]
			gone.process.Signal(t, signal)
			programs.Until(t, "the edge not to be ready", func() bool { return !programs.Ready(gone.addr) })
			for i := range 6 {
				if code := join(t, wstest.URL(env.lb.addr), source(i), nil); code != 0 {
					t.Errorf("client %d: got close code %d, want none", i+1, code)
				}
			}
			if n := env.edges[1].clients(); n != 6 {
				t.Errorf("got %d clients on the other edge, want all 6", n)
			}
			if signal == syscall.SIGTERM && gone.metric(rejectedDraining) == 0 {
				t.Error("got no handshake at the draining edge, want some to retry")
			}
		})
	}
}
