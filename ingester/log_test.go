package ingester

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sightglass/ingester/testblock"
	"sightglass/shared/contract"
	"sightglass/shared/daemon"
)

// summed returns the summary's values by key.
func summed(t testing.TB, before, now daemon.Reading) map[string]any {
	t.Helper()
	pairs := summary(before, now)
	m := make(map[string]any)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

func TestSummary_SinceLastLine(t *testing.T) {
	in, err := New(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	defer in.redis.Close()
	look := func() daemon.Reading {
		r, err := daemon.Read(in.metrics)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	in.engine.tick(start)
	first := look()
	if got := summed(t, daemon.Reading{}, first); got["price"] != 0.0 || got["received"] != int64(0) || got["status"] != contract.Warming {
		t.Errorf("before the first transaction: got %v, want warming without a price", got)
	}
	for _, tx := range block(t) {
		in.engine.apply(seen(tx, start))
	}
	in.engine.tick(start)
	second := look()
	got := summed(t, first, second)
	if got["received"] != int64(3315) || got["status"] != contract.Live || got["missed"] != int64(0) {
		t.Errorf("after a block: got %v, want its 3315 transactions and live", got)
	}
	if price := got["price"].(float64); math.Abs(price/testblock.Price574200-1) > 0.01 {
		t.Errorf("got price %v, want the block's", price)
	}
	if n := got["filtered"].(int64); n < 500 || n > 3000 {
		t.Errorf("got %v filtered, want some", n)
	}
	if got := summed(t, second, second); got["received"] != int64(0) || got["filtered"] != int64(0) || got["price"] == 0.0 {
		t.Errorf("without news: got %v, want no growth and the price", got)
	}
}

// TestSummary_LogsWithoutNodeAndRedis: a line is logged although neither the node nor Redis is running.
func TestSummary_LogsWithoutNodeAndRedis(t *testing.T) {
	var out bytes.Buffer // read after Run has ended
	o := Defaults()
	o.Redis, o.Log, o.LogSummary = "redis://127.0.0.1:1", daemon.NewLogger(&out, "text", daemon.LogLevels{}), time.Second
	in, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Run logs a summary at its end, too
	if err := in.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, "msg=price component=ingester price=0") || !strings.Contains(s, "status=warming") {
		t.Errorf("got log %s, want the summary while warming", s)
	}
}

// expectStatus checks that the metric of one status is 1 and those of the others are 0.
func expectStatus(t testing.TB, m *engineMetrics, want contract.Status) {
	t.Helper()
	for _, s := range statuses {
		if got := testutil.ToFloat64(m.status[s]); got != oneIf(s == want) {
			t.Errorf("got %v for the status %s, want 1 for %s alone", got, s, want)
		}
	}
}

func TestMetrics_OneStatus(t *testing.T) {
	e := testEngine(t)
	for _, s := range statuses {
		e.metrics.observe(&contract.Snapshot{Status: s}, 0)
		expectStatus(t, e.metrics, s)
	}
}

func TestSummary_NamesStatus(t *testing.T) {
	in, err := New(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	defer in.redis.Close()
	for _, want := range statuses {
		in.engine.metrics.observe(&contract.Snapshot{Status: want}, 0)
		r, err := daemon.Read(in.metrics)
		if err != nil {
			t.Fatal(err)
		}
		if got := summed(t, r, r)["status"]; got != want {
			t.Errorf("got status %v, want %v", got, want)
		}
	}
}

func TestMetrics_IntervalAndEvidence(t *testing.T) {
	e := testEngine(t)
	for _, tx := range block(t) {
		e.apply(seen(tx, start))
	}
	e.tick(start.Add(2 * time.Minute))
	m := e.metrics
	price, low, high := testutil.ToFloat64(m.price), testutil.ToFloat64(m.low), testutil.ToFloat64(m.high)
	if math.Abs(price/testblock.Price574200-1) > 0.01 || !(0 < low && low < price && price < high) {
		t.Errorf("got price %v, low %v, high %v, want low below price below high", price, low, high)
	}
	expectStatus(t, m, contract.Live)
	if newest := testutil.ToFloat64(m.newest); newest != float64(start.Unix()) {
		t.Errorf("got newest evidence at %v, want %v", newest, start.Unix())
	}
	if age := testutil.ToFloat64(m.age); age != 120 {
		t.Errorf("got mean age %v s, want 120", age)
	}
	if n := testutil.ToFloat64(m.outputs); n < 1000 {
		t.Errorf("got %v outputs, want more", n)
	}
}
