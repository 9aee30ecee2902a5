package edge

import (
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sightglass/edge/internal/edgetest"
	"sightglass/shared/daemon"
	"sightglass/shared/logtest"
)

// TestEdge_LogsClientSummary: one client connects and leaves, one is rejected by its address, one by its origin.
func TestEdge_LogsClientSummary(t *testing.T) {
	var log logtest.Log
	e := serve(t, func(o *Options) {
		o.MaxPerAddress, o.LogSummary = 1, time.Second
		o.Log = daemon.NewLogger(&log, daemon.JSON, daemon.LogLevels{})
	})
	first := edgetest.Dial(t, e.Addr(), "127.0.0.1")
	handshake(t, first, "Host: a")
	edgetest.Until(t, "the first to join", func() bool { return e.Clients() == 1 })
	second := edgetest.Dial(t, e.Addr(), "127.0.0.1")
	_, r := handshake(t, second, "Host: a")
	if _, err := io.Copy(io.Discard, r); err != nil { // until the close frame is sent
		t.Fatal(err)
	}
	answer, _ := handshake(t, edgetest.Dial(t, e.Addr(), "127.0.0.1"), "Host: a", "Origin: https://example.com")
	expectError(t, answer, http.StatusForbidden)
	first.Close()
	edgetest.Until(t, "the first to leave", func() bool { return e.Clients() == 0 })

	// The events are in one line or several, but none is counted twice.
	edgetest.Until(t, "the events in the summaries", func() bool {
		sums := make(map[string]float64)
		for _, line := range log.Lines(t) {
			if line["msg"] == "clients" {
				add(sums, "", line)
			}
		}
		return sums["connected"] == 1 && sums["closed.left"] == 1 && sums["closed.4029"] == 1 &&
			sums["rejected.address"] == 1 && sums["rejected.origin"] == 1
	})
	for _, line := range log.Lines(t) {
		if c, _ := line["component"].(string); !slices.Contains(LogComponents(), c) || line["msg"] == "clients" && c != logEdge {
			t.Errorf("got a line without its component: %v", line)
		}
	}
}

func add(sums map[string]float64, prefix string, attrs map[string]any) {
	for key, value := range attrs {
		switch v := value.(type) {
		case float64:
			sums[prefix+key] += v
		case map[string]any:
			add(sums, key+".", v)
		}
	}
}

func TestSummary_LogsOnlyChanges(t *testing.T) {
	quiet := daemon.Reading{
		"sightglass_clients":                {"plain": 7},
		"sightglass_clients_accepted_total": {"": 9},
		"sightglass_client_closed_total":    {"left": 2, "4008": 0},
		"sightglass_edge_rejected_total":    {"address": 1},
	}
	if got := summary(quiet, quiet); got != nil {
		t.Errorf("got %v, want no line", got)
	}
	if got := summary(daemon.Reading{}, quiet); got == nil {
		t.Error("got no line for 9 clients, want one")
	}
}

func TestCountRequests_ByRoute(t *testing.T) {
	e := serve(t, func(o *Options) { o.Log = slog.New(slog.DiscardHandler) })
	for _, path := range []string{"/livez", "/livez", "/readyz", "/static/style.css", "/static/absent.css", "/absent", "/livez/../absent?a=b"} {
		answer, err := http.Get("http://" + e.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	handshake(t, edgetest.Dial(t, e.Addr(), "127.0.0.1"), "Host: a")
	conn := edgetest.Dial(t, e.Addr(), "127.0.0.1")
	if _, err := io.WriteString(conn, "NONSENSE\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Fatal(err)
	}
	const want = `
# HELP sightglass_http_requests_total HTTP responses, by route (other: unknown path; none: malformed request) and status.
# TYPE sightglass_http_requests_total counter
sightglass_http_requests_total{code="101",route="/ws/mempool"} 1
sightglass_http_requests_total{code="200",route="/livez"} 2
sightglass_http_requests_total{code="200",route="/static/*"} 1
sightglass_http_requests_total{code="400",route="none"} 1
sightglass_http_requests_total{code="404",route="/static/*"} 1
sightglass_http_requests_total{code="404",route="other"} 2
sightglass_http_requests_total{code="503",route="/readyz"} 1
`
	edgetest.Until(t, "the requests to be counted", func() bool {
		return testutil.GatherAndCompare(e.metrics, strings.NewReader(want), "sightglass_http_requests_total") == nil
	})
	if n := testutil.ToFloat64(e.limits.attempts); n != 1 {
		t.Errorf("got %v handshakes, want 1", n)
	}
}

func TestOptions_LogSummary(t *testing.T) {
	for every, good := range map[time.Duration]bool{0: true, time.Second: true, 24 * time.Hour: true, time.Millisecond: false, -time.Minute: false, 25 * time.Hour: false} {
		o := Defaults()
		o.LogSummary = every
		if err := o.Validate(); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "--log-summary") {
			t.Errorf("%v: got %v, want accepted %v", every, err, good)
		}
	}
}
