// Package e2e runs the whole path on real transactions: a ZMQ socket in the node's place, an ingester, a
// redis-server, edges, WebSocket clients.
package e2e

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"golang.org/x/sync/errgroup"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
	"sightglass/shared/snapshot"
)

// quiet keeps the daemons' logs for when a test fails.
func quiet(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// A world is everything from the node's socket to the edges, running until the test ends.
type world struct {
	redis *redistest.Server
	edges []*edge.Edge
}

// start replays the block to an ingester and starts edges, and waits until the price is live.
func start(t *testing.T, edges int) *world {
	t.Helper()
	w := &world{redis: redistest.Start(t)}
	log := quiet(t)
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	node, err := replay.New(replay.Options{Endpoint: "tcp://127.0.0.1:*", Rate: 2000, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	o := ingester.Defaults()
	o.ZMQ, o.Redis, o.Log = []string{node.Endpoint()}, w.redis.URL(), log
	in, err := ingester.New(o)
	if err != nil {
		t.Fatal(err)
	}
	runs := []func(context.Context) error{
		func(ctx context.Context) error { return node.Run(ctx, file.Transactions) },
		in.Run,
	}
	for range edges {
		e := newEdge(t, w.redis.URL(), log)
		w.edges = append(w.edges, e)
		runs = append(runs, e.Run)
	}
	run(t, runs...)
	for _, e := range w.edges {
		awaitLive(t, e)
	}
	return w
}

func newEdge(t testing.TB, redisURL string, log *slog.Logger) *edge.Edge {
	t.Helper()
	o := edge.Defaults()
	o.Listen, o.Redis, o.Log = "127.0.0.1:0", redisURL, log
	o.DrainDelay, o.DrainWindow = 0, 0 // no balancer looks at it
	e, err := edge.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// run runs the daemons until the test ends. None of them may fail.
func run(t testing.TB, runs ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range runs {
		g.Go(func() error { return f(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// awaitLive waits until an edge has a live price from the whole block.
func awaitLive(t testing.TB, e *edge.Edge) {
	t.Helper()
	programs.Until(t, "a live price on "+e.Addr().String(), func() bool {
		code, body := get(t, e, "/api/v1/snapshot")
		if code != http.StatusOK {
			return false
		}
		s, err := snapshot.Decode(body)
		if err != nil {
			t.Fatal(err)
		}
		return s.Status == snapshot.Live && s.Stats.TotalReceived == 3315
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
