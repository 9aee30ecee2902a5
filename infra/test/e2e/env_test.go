// Package e2e tests the whole path on real transactions: a ZMQ socket in the node's place, an ingester, a
// redis-server, edges, WebSocket clients.
package e2e

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"sightglass/edge"
	"sightglass/infra/test/internal/daemons"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
	"sightglass/shared/contract"
)

// quiet is a log for the daemons that is printed if the test fails.
func quiet(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// An environment is everything from the node's socket to the edges, running until the test ends.
type environment struct {
	redis *redistest.Server
	edges []*edge.Edge
}

// start replays the block to an ingester, starts edges, and waits until the price is live.
func start(t *testing.T, edges int) *environment {
	t.Helper()
	env := &environment{redis: redistest.Start(t)}
	log := quiet(t)
	endpoint, replay := daemons.Replay(t, log)
	o := ingester.Defaults()
	o.ZMQ, o.Redis, o.Log = []string{endpoint}, env.redis.URL(), log
	in, err := ingester.New(o)
	if err != nil {
		t.Fatal(err)
	}
	daemons.Run(t, replay, in.Run)
	for range edges {
		env.edges = append(env.edges, edgeWith(t, env.redis, unchanged))
	}
	for _, e := range env.edges {
		awaitLive(t, e)
	}
	return env
}

// edgeWith runs an edge with modified options.
func edgeWith(t testing.TB, server *redistest.Server, set func(*edge.Options)) *edge.Edge {
	t.Helper()
	return daemons.StartEdge(t, quiet(t), func(o *edge.Options) {
		o.Redis = server.URL()
		set(o)
	})
}

func unchanged(*edge.Options) {}

// awaitLive waits until an edge has a live price from the whole block.
func awaitLive(t testing.TB, e *edge.Edge) {
	t.Helper()
	programs.Until(t, "a live price on "+e.Addr().String(), func() bool {
		code, body := get(t, e, "/api/v1/snapshot")
		if code != http.StatusOK {
			return false
		}
		s, err := contract.DecodeSnapshot(body)
		if err != nil {
			t.Fatal(err)
		}
		return s.Status == contract.Live && s.Stats.TotalReceived == daemons.BlockTransactions
	})
}

func get(t testing.TB, e *edge.Edge, path string) (code int, body []byte) {
	t.Helper()
	answer, err := http.Get("http://" + e.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, body
}

func getJSON(t testing.TB, e *edge.Edge, path string, into any) (code int) {
	t.Helper()
	code, body := get(t, e, path)
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%s: %v: %s", path, err, body)
	}
	return code
}
