package e2e

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"

	"sightglass/infra/demo"
	"sightglass/infra/test/internal/programs"
	"sightglass/ingester/testblock"
	"sightglass/shared/contract"
)

func demoOptions(t *testing.T, out *bytes.Buffer) demo.Options {
	return demo.Options{
		Rate: 500, Out: out,
		Files: []string{testblock.Path(t, testblock.Block574200), testblock.Path(t, testblock.Block540107)},
		Log:   slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

func TestDemo_StartsAndStops(t *testing.T) {
	var out bytes.Buffer
	d, err := demo.New(t.Context(), demoOptions(t, &out))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	awaitPrice(t, d.URLs()[1], testblock.Price574200)
	awaitDemoHistory(t, d.URLs()[1])
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, want := range append(d.URLs(), "redis-cli -u redis://127.0.0.1:") {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got output without %q:\n%s", want, out.String())
		}
	}
}

func awaitPrice(t *testing.T, url string, truth float64) {
	t.Helper()
	programs.Until(t, fmt.Sprintf("a price near %v", truth), func() bool {
		body, err := programs.Get(url + "api/v1/snapshot")
		if err != nil {
			return false // not listening yet
		}
		s, err := contract.DecodeSnapshot(body)
		return err == nil && s.Status == contract.Live && s.Confidence > 0.9 && math.Abs(s.Price/truth-1) < 0.01
	})
}

// awaitDemoHistory waits for the first history point of a fresh page's line.
func awaitDemoHistory(t *testing.T, url string) {
	t.Helper()
	programs.Until(t, "a point of the history", func() bool {
		body, err := programs.Get(url + "api/v1/history")
		return err == nil && strings.Contains(string(body), `"points":[[`)
	})
}

func TestDemo_NamesBadSettings(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for name, c := range map[string]struct {
		change func(*demo.Options)
		want   string
	}{
		"a port in use":   {func(o *demo.Options) { o.EdgePort = busy.Addr().(*net.TCPAddr).Port }, "set another with EDGE_PORT=9090"},
		"an invalid port": {func(o *demo.Options) { o.EdgePort = 65535 }, "EDGE_PORT 65535"},
		"no Redis":        {func(o *demo.Options) { o.Redis = "redis://127.0.0.1:1" }, "REDIS_URL: Redis does not respond"},
		"no Redis URL":    {func(o *demo.Options) { o.Redis = "localhost" }, "REDIS_URL"},
		"a missing file":  {func(o *demo.Options) { o.Files = []string{"absent.blk"} }, "absent.blk"},
		"rate 0":          {func(o *demo.Options) { o.Rate = 0 }, "rate 0"},
	} {
		t.Run(name, func(t *testing.T) {
			o := demoOptions(t, new(bytes.Buffer))
			c.change(&o)
			if _, err := demo.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
