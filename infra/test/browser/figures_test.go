package browser

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"sightglass/infra/fanout"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
)

// TestPage_PrintsFigures prints the page's costs in a browser. The snapshots are synthetic, as their size determines
// the costs: 8 new points in each, as on mainnet, and 1,000 for a page with its maximum of points.
func TestPage_PrintsFigures(t *testing.T) {
	minutes := os.Getenv("MINUTES")
	if minutes == "" {
		t.Skip("takes minutes and asserts nothing: `make bench-browser`")
	}
	programs.NeedBrowser(t)
	program := programs.Build(t, "edge", "edge")
	cmd := exec.CommandContext(t.Context(), "node", "figures.mjs")
	cmd.Env = append(os.Environ(), "EDGE=http://"+feed(t, program, 8), "FULL_EDGE=http://"+feed(t, program, 1000))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}

// feed starts an edge that gets a full snapshot twice a second, with the given number of new points in each, and
// returns its address.
func feed(t *testing.T, program string, fresh int) string {
	t.Helper()
	server, addr := redistest.Start(t), programs.FreeAddr(t)
	const rate = 2
	feeder := fanout.NewFeeder(fanout.NewSource(fresh, time.Now()), &fanout.RedisSink{Client: server.Client()}, nil, rate)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- feeder.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	launchEdge(t, program, addr, server.URL())
	programs.Until(t, "the edge to be ready", func() bool { return programs.Ready(addr) })
	return addr
}
