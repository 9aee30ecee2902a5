package e2e

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sightglass/infra/demo"
	"sightglass/ingester/testblock"
	"sightglass/shared/snapshot"
)

func demoOptions(t *testing.T, out *bytes.Buffer) demo.Options {
	return demo.Options{
		Rate: 500, Out: out,
		Files: []string{testblock.Path(t, testblock.Block574200), testblock.Path(t, testblock.Block540107)},
		Log:   slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

func TestTheDemoComesUpAndGoesDown(t *testing.T) {
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
			t.Errorf("it does not print %q:\n%s", want, out.String())
		}
	}
}

func awaitPrice(t *testing.T, url string, truth float64) {
	t.Helper()
	deadline := time.After(time.Minute)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-deadline:
			t.Fatalf("no price near %v in a minute", truth)
		case <-poll.C:
		}
		answer, err := http.Get(url + "api/v1/snapshot")
		if err != nil {
			continue // not up yet
		}
		var body bytes.Buffer
		_, err = body.ReadFrom(answer.Body)
		answer.Body.Close()
		s, bad := snapshot.Decode(body.Bytes())
		if err == nil && bad == nil && s.Status == snapshot.Live && s.Confidence > 0.9 && math.Abs(s.Price/truth-1) < 0.01 {
			return
		}
	}
}

// awaitDemoHistory waits for a first point of the line that a fresh page draws.
func awaitDemoHistory(t *testing.T, url string) {
	t.Helper()
	deadline := time.After(time.Minute)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		answer, err := http.Get(url + "api/v1/history")
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, err = body.ReadFrom(answer.Body)
		answer.Body.Close()
		if err == nil && strings.Contains(body.String(), `"points":[[`) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("no point in a minute: %s", body.String())
		case <-poll.C:
		}
	}
}

func TestWhatIsInTheWayIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		change func(*demo.Options)
		want   string
	}{
		"a taken port":      {func(o *demo.Options) { o.EdgePort = taken.Addr().(*net.TCPAddr).Port }, "EDGE_PORT=9090 sets another"},
		"no such port":      {func(o *demo.Options) { o.EdgePort = 65535 }, "EDGE_PORT 65535"},
		"no redis there":    {func(o *demo.Options) { o.Redis = "redis://127.0.0.1:1" }, "REDIS_URL: no redis answers"},
		"no redis URL":      {func(o *demo.Options) { o.Redis = "localhost" }, "REDIS_URL"},
		"a missing file":    {func(o *demo.Options) { o.Files = []string{"absent.blk"} }, "absent.blk"},
		"a rate of nothing": {func(o *demo.Options) { o.Rate = 0 }, "rate 0"},
	} {
		t.Run(name, func(t *testing.T) {
			o := demoOptions(t, new(bytes.Buffer))
			c.change(&o)
			if _, err := demo.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}
