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

const refusedDraining = `sightglass_edge_rejected_total{reason="draining"}`

// TestBalancer_DrainingEdgeGetsNoNewClients gets no new clients, and those that it has stay until it tells them to go elsewhere.
func TestBalancer_DrainingEdgeGetsNoNewClients(t *testing.T) {
	// Long enough for all that is looked at before the clients are told.
	build(t, asShipped, []string{"--drain-delay", "10s", "--drain-window", "1s"}, func(t *testing.T, env *environment) {
		const n = 20
		people := env.connect(n)
		going, staying := env.edges[0], env.edges[1]
		had := going.clients()
		if had == 0 || had == n {
			t.Fatalf("the edges have %d and %d clients", had, staying.clients())
		}
		going.process.Signal(t, syscall.SIGTERM)
		programs.Until(t, "the edge not to be ready", func() bool { return !programs.Ready(going.addr) })
		looks := env.kind.out != nil
		if looks {
			programs.Until(t, "the balancer to see that", func() bool { return env.kind.out(t, env.lb, 0) })
		}
		before := going.metric(refusedDraining)
		for i := range 5 {
			if code := join(t, wstest.URL(env.lb.addr), person(i), nil); code != 0 {
				t.Errorf("client %d while an edge drains: closed with %d", i+1, code)
			}
		}
		if still := going.clients(); still != had {
			t.Errorf("the draining edge has %d clients, want the %d that it had", still, had)
		}
		if asked := going.metric(refusedDraining) - before; looks && asked > 0 {
			t.Errorf("%d of them were sent to the draining edge first", asked)
		}
		if s := people.Summary(); s.Connected != n || s.Reconnects != 0 {
			t.Errorf("before any is told to go: %v", s)
		}
		going.process.Wait()
		env.until(people, "its clients to be on the other edge", func(s clientsim.Summary) bool { return s.Connected == n && staying.clients() == n+5 })
		s := people.Summary()
		t.Log(s)
		if s.Reconnects != had || s.Ends["closed with 1001"] != had || len(s.Ends) != 1 || s.Older > 0 {
			t.Errorf("of %d clients that were to go elsewhere: %v", had, s)
		}
	})
}

// longestGap is what a visitor may have to do without the price while all edges are restarted.
const longestGap = 3 * time.Second

// TestBalancer_RollingRestart: every edge is stopped and started, one after the other, with the settings that we ship.
func TestBalancer_RollingRestart(t *testing.T) {
	program := programs.Build(t, "edge", "edge")
	each(t, func(t *testing.T, k kind) { // one after the other, as people count the seconds
		env := newEnvironment(t, program, k, asShipped, nil)
		const n = 500
		people := env.connect(n)
		for i, e := range env.edges {
			e.stop()
			e.start()
			if env.kind.out != nil {
				programs.Until(t, fmt.Sprintf("the balancer to use edge %d again", i+1), func() bool { return !env.kind.out(t, env.lb, i) })
			}
		}
		now := env.redis.Snapshot()
		if now == nil {
			t.Fatal("no snapshot in redis")
		}
		env.until(people, "everyone to have what is new now", func(clientsim.Summary) bool { return people.CaughtUp(now) == n })
		s := people.Summary()
		t.Log(s)
		if s.Gap > longestGap || s.Older > 0 {
			t.Errorf("want no gap over %v, nothing older after newer", longestGap)
		}
		if s.Reconnects < n {
			t.Errorf("%d reconnects: not every edge was restarted", s.Reconnects)
		}
	})
}

// TestBalancer_KilledEdge: its clients are back on the other, and nobody is sent to where it was.
func TestBalancer_KilledEdge(t *testing.T) {
	build(t, asShipped, nil, func(t *testing.T, env *environment) {
		const n = 20
		people := env.connect(n)
		env.edges[0].kill()
		for i := range 5 {
			if code := join(t, wstest.URL(env.lb.addr), person(i), nil); code != 0 {
				t.Errorf("client %d after an edge was killed: closed with %d", i+1, code)
			}
		}
		env.until(people, "its clients to be on the other edge", func(s clientsim.Summary) bool { return s.Connected == n && env.edges[1].clients() == n+5 })
		t.Log(people.Summary())
	})
}

// TestHAProxy_RetriesOtherEdgeBeforeCheckFails: HAProxy sends who comes to an edge that drains, or is gone, on to another.
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
				if code := join(t, wstest.URL(env.lb.addr), person(i), nil); code != 0 {
					t.Errorf("client %d: closed with %d", i+1, code)
				}
			}
			if n := env.edges[1].clients(); n != 6 {
				t.Errorf("the other edge has %d clients, want all 6", n)
			}
			if signal == syscall.SIGTERM && gone.metric(refusedDraining) == 0 {
				t.Error("none of them was at the draining edge first: nothing was tested")
			}
		})
	}
}
