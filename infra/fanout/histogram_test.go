package fanout

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogram_QuantilesWithinOnePercent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	values := make([]time.Duration, 10_000)
	for i := range values {
		values[i] = time.Duration(math.Exp(rng.Float64()*25)) - 1 // 0 to 72 s, log-uniform
		h.Add(values[i])
	}
	slices.Sort(values)
	for _, q := range []float64{0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		want := values[max(int(q*float64(len(values))+0.5), 1)-1]
		if got := h.Quantile(q); got < want || float64(got) > float64(want)*1.01 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if h.Max() != values[len(values)-1] || h.Count() != uint64(len(values)) {
		t.Errorf("max %v of %d, want %v of %d", h.Max(), h.Count(), values[len(values)-1], len(values))
	}
}

func TestHistogram_ExtremeValues(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("a quantile of an empty histogram is not 0")
	}
	h.Add(-time.Second) // the clock was set back
	if h.Quantile(1) != 0 {
		t.Errorf("a negative duration counts as %v, want 0", h.Quantile(1))
	}
	h.Add(math.MaxInt64)
	if h.Quantile(1) != math.MaxInt64 {
		t.Errorf("the longest duration counts as %v", h.Quantile(1))
	}
}

func TestHistogram_BinsAreContiguous(t *testing.T) {
	var h Histogram
	for bin := range len(h.bins) - 1 {
		if last := binMax(bin); binOf(last) != bin || binOf(last+1) != bin+1 {
			t.Fatalf("bin %d ends at %d, which is in bin %d; the next duration is in bin %d", bin, last, binOf(last), binOf(last+1))
		}
		if binMax(bin+1) < 0 {
			break
		}
	}
}
