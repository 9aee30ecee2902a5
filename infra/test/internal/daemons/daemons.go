// Package daemons runs ingesters and edges in the test's process. Package programs runs them as processes.
package daemons

import (
	"context"
	"log/slog"
	"testing"

	"golang.org/x/sync/errgroup"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
)

// BlockTransactions is the number of transactions that Replay publishes, and the final value of stats.total_received.
const BlockTransactions = 3315

// Run runs daemons until the test ends. The test fails if one of them returns an error.
func Run(t testing.TB, runs ...func(context.Context) error) {
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

// StartEdge runs an edge on an unused port until the test ends. It drains without delay, as there is no load balancer. set
// changes the options.
func StartEdge(t testing.TB, log *slog.Logger, set func(*edge.Options)) *edge.Edge {
	t.Helper()
	o := edge.Defaults()
	o.Listen, o.Log = "127.0.0.1:0", log
	o.DrainDelay, o.DrainWindow = 0, 0
	set(&o)
	e, err := edge.New(o)
	if err != nil {
		t.Fatal(err)
	}
	Run(t, e.Run)
	return e
}

// Replay creates a publisher of the transactions of block 574200, at 2000 a second. It returns its ZMQ endpoint and the
// function to pass to Run.
func Replay(t testing.TB, log *slog.Logger) (endpoint string, run func(context.Context) error) {
	t.Helper()
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	node, err := replay.New(replay.Options{Endpoint: "tcp://127.0.0.1:*", Rate: 2000, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return node.Endpoint(), func(ctx context.Context) error {
		programs.AwaitMinute(ctx)
		return node.Run(ctx, file.Transactions)
	}
}
