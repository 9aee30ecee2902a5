package price

import (
	"fmt"
	"math"
	"testing"

	"sightglass/ingester/payment"
)

// TestEngine_PriceStep has the price jump after a quarter of an hour.
func TestEngine_PriceStep(t *testing.T) {
	const before, jump, settle, sure = 50_000.0, 900, 15 * 60, 5 * 60
	for _, step := range []float64{0.97, 1.03, 1.1} {
		e := newEngine(t, Options{Near: before})
		path := func(s int) float64 {
			if s < jump {
				return before
			}
			return before * step
		}
		wrong := 0
		play(e, newCrowd(20), 0, jump+settle+300, path, func(s int, r Estimate) {
			if s < 300 {
				return
			}
			if off(r.Price, path(s)) > 0.02 && r.Confidence > 0.9 {
				wrong += 5
			}
			if s > jump+settle && off(r.Price, path(s)) > 0.005 {
				t.Fatalf("step to %v: %d s later %+v", step, s-jump, r)
			}
		})
		if wrong > sure {
			t.Errorf("step to %v: sure of a wrong price for %d s", step, wrong)
		}
	}
}

// TestEngine_PriceDrift has the price rise by 2 % an hour.
func TestEngine_PriceDrift(t *testing.T) {
	e := newEngine(t, Options{Near: 50_000})
	path := func(s int) float64 { return 50_000 * (1 + 0.02*float64(s)/3600) }
	play(e, newCrowd(21), 0, 3600, path, func(s int, r Estimate) {
		if s > 900 && off(r.Price, path(s)) > 0.005 {
			t.Fatalf("after %d s: %+v, true %v", s, r, path(s))
		}
	})
}

// TestEngine_FalseLadder draws a false ladder with 200 transactions in a minute, on one
// side of the turn of a minute and across it.
func TestEngine_FalseLadder(t *testing.T) {
	const truth = 50_000.0
	tests := []struct {
		name  string
		begin int // second; the attack takes fifty
		lies  []float64
	}{
		{"in a minute", 900, []float64{0.985, 1.03}},
		{"across two", 930, []float64{0.5, 0.97, 0.985, 1.015, 1.03, 1.1}},
	}
	for _, tt := range tests {
		for _, lie := range tt.lies {
			t.Run(fmt.Sprintf("%s at %v", tt.name, lie), func(t *testing.T) { attack(t, truth, lie, tt.begin) })
		}
	}
}

func attack(t *testing.T, truth, lie float64, begin int) {
	e := newEngine(t, Options{Near: USD(truth)})
	honest, liar := newCrowd(22), newCrowd(23)
	end := play(e, honest, 0, begin, always(truth), nil)
	before := e.Estimate(second(end))
	least := 1.0
	for s := begin; s < begin+300; s++ {
		for range 4 {
			if s < begin+50 {
				e.Add(second(s), liar.lie(truth*lie))
			}
		}
		play(e, honest, s, 1, always(truth), func(_ int, r Estimate) {
			if off(r.Price, float64(before.Price)) > 0.01 {
				t.Fatalf("%d s later: %+v", s-begin, r)
			}
			least = min(least, r.Confidence)
		})
	}
	if math.Abs(lie-1) < 0.05 && least >= before.Confidence {
		t.Errorf("confidence never fell below %.3f", before.Confidence)
	}
}

// lie makes a transaction that pays a round amount at a false price.
func (c cluster) lie(price float64) []payment.Satoshi {
	dollars := []float64{5, 10, 20, 25, 30, 40, 50, 100, 150, 200, 500}[c.random.Intn(11)]
	dollars *= 1 + 0.001*c.random.NormFloat64()
	return []payment.Satoshi{payment.Satoshi(dollars / price * 1e8), c.amount(price)}
}

func TestEngine_KeepsBeliefAtRest(t *testing.T) {
	e := newEngine(t, Options{Near: 50_000})
	end := play(e, newCrowd(24), 0, 1200, always(50_000), nil)
	before := e.Estimate(second(end))
	after := e.Estimate(second(end + 3600)) // an hour of nothing
	if off(after.Price, float64(before.Price)) > 0.005 || after.Confidence >= before.Confidence {
		t.Errorf("before %+v, after an hour of nothing %+v", before, after)
	}
}
