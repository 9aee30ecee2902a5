package e2e

import (
	"context"
	"math"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/wstest"
	"sightglass/ingester/testblock"
	"sightglass/shared/client"
	"sightglass/shared/contract"
)

// TestClient_FollowsEdgeThroughOutages: an outage of Redis, a restart of the edge, and its crash.
func TestClient_FollowsEdgeThroughOutages(t *testing.T) {
	env := start(t, 0)
	program, addr := programs.Build(t, "edge", "edge"), programs.FreeAddr(t)
	launch := func() *programs.Process {
		p := programs.Launch(t, program, "run", "--listen", addr, "--redis", env.redis.URL(), "--drain-delay", "0s", "--drain-window", "0s")
		programs.Until(t, "the edge to be alive", func() bool { return programs.Alive(addr) })
		return p
	}
	edge := launch()
	f := followStream(t, source(0), addr)
	s := f.await(t, "a price", func(s *contract.Snapshot) bool {
		return s.Status == contract.Live && math.Abs(s.Price/testblock.Price574200-1) < 0.01
	})
	if len(f.reasons) > 0 {
		t.Fatalf("got disconnected by %v, want no disconnect", <-f.reasons)
	}

	env.redis.Kill()
	s = f.await(t, "a stale snapshot", func(now *contract.Snapshot) bool { return now.Status == contract.Stale && !s.NewerThan(now) })
	env.redis.Start()
	s = f.awaitNewer(t, s)
	if len(f.reasons) > 0 {
		t.Fatalf("without redis: got disconnected by %v, want no disconnect", <-f.reasons)
	}

	edge.Stop(t)
	if reason := f.disconnected(t); websocket.CloseStatus(reason) != websocket.StatusGoingAway {
		t.Errorf("the edge stopped: got disconnected by %v, want close code 1001", reason)
	}
	f.await(t, "a stale snapshot", func(s *contract.Snapshot) bool { return s.Status == contract.Stale })
	edge = launch()
	s = f.awaitNewer(t, s)

	edge.Signal(t, syscall.SIGKILL)
	edge.Wait()
	launch()
	f.awaitNewer(t, s)
}

// TestClient_WaitsAMinuteAfter4029: the address has its maximum of connections.
func TestClient_WaitsAMinuteAfter4029(t *testing.T) {
	env := start(t, 1)
	for range perAddress {
		if _, err := view(t, env.edges[0], source(0)).Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var reason error
	var wait time.Duration
	err := client.Run(ctx, client.Options{
		URL:          wstest.URL(env.edges[0].Addr().String()),
		HTTPClient:   &http.Client{Transport: wstest.TransportFrom(source(0))},
		Disconnected: func(err error, retryIn time.Duration) { reason, wait = err, retryIn; stop() },
	}, func(s *contract.Snapshot) { t.Errorf("the eleventh connection: got snapshot seq %d, want none", s.Seq) })
	if websocket.CloseStatus(reason) != wstest.TooMany || wait != time.Minute || ctx.Err() == nil {
		t.Errorf("got disconnected by %v, retry in %v, Run returned %v; want 4029 and a minute", reason, wait, err)
	}
}
