package price

import (
	"fmt"
	"testing"

	"sightglass/ingester/payment"
)

// establish plays honest payments at 50,000 USD until the price is established, and returns the second after.
func establish(t *testing.T, e *Engine, honest cluster) (end int) {
	t.Helper()
	end = play(e, honest, 0, 45*60, always(50_000), nil)
	e.Estimate(second(end))
	if !e.timeline.strength.established() {
		t.Fatal("got no established price after 45 minutes, want one")
	}
	return end
}

// attackFor plays honest payments, and false ones at a price, for a time; see is called every ten seconds.
func attackFor(e *Engine, honest, liar cluster, from, seconds int, perMinute, outputs int, price func(second int) float64, see func(second int, r Estimate)) {
	due := 0
	for s := from; s < from+seconds; s++ {
		for due += perMinute; due >= 60; due -= 60 {
			at := price(s - from)
			for range outputs {
				e.Add(second(s), liar.lie(at)[:1])
			}
		}
		play(e, honest, s, 1, always(50_000), nil)
		if s%10 == 0 {
			see(s-from, e.Estimate(second(s)))
		}
	}
}

// TestHold_FalseLadderBesideTheHonestOne pays round amounts at a false price for forty minutes: as many as honest people
// together at most. The price stays, and a strong second ladder makes it contested.
func TestHold_FalseLadderBesideTheHonestOne(t *testing.T) {
	for _, c := range []struct {
		factor             float64
		perMinute, outputs int
		contested          bool
	}{
		{0.94, 3, 10, true},
		{1.03, 60, 1, true},
		{0.9, 12, 50, true},
		{2, 12, 5, false}, // prices that share rungs are hard to tell apart: the price stays all the same
		{0.5, 12, 5, false},
	} {
		t.Run(fmt.Sprintf("x%v, %d a minute with %d", c.factor, c.perMinute, c.outputs), func(t *testing.T) {
			t.Parallel()
			e, honest := newEngine(t, Options{}), newCrowd(50)
			end := establish(t, e, honest)
			contested := false
			attackFor(e, honest, newCrowd(51), end, 40*60, c.perMinute, c.outputs, always(50_000*c.factor), func(s int, r Estimate) {
				if off(r.Price, 50_000) > 0.01 {
					t.Fatalf("got %+v after %d s, want 50,000", r, s)
				}
				contested = contested || r.Status == Contested
			})
			if c.contested && !contested {
				t.Error("got a price that was never contested, want it contested")
			}
		})
	}
}

// TestHold_FalseLadderThatWalksAway starts at the price, as strong as all honest payments, and moves by 3 % an hour. The
// price may follow, but never surely.
func TestHold_FalseLadderThatWalksAway(t *testing.T) {
	e, honest := newEngine(t, Options{}), newCrowd(52)
	end := establish(t, e, honest)
	attackFor(e, honest, newCrowd(53), end, 100*60, 60, 1, func(s int) float64 { return 50_000 * (1 + 0.03*float64(s)/3600) }, func(s int, r Estimate) {
		if off(r.Price, 50_000) > 0.02 && r.Confidence > 0.9 {
			t.Fatalf("got %+v after %d s, want 50,000 or a confidence below 0.9", r, s)
		}
	})
}

// TestHold_OverRestart attacks an engine that was restored a minute before.
func TestHold_OverRestart(t *testing.T) {
	before, honest := newEngine(t, Options{}), newCrowd(54)
	end := establish(t, before, honest)
	e := newEngine(t, Options{})
	if err := e.Restore(before.State(), second(end)); err != nil {
		t.Fatal(err)
	}
	attackFor(e, honest, newCrowd(55), end+60, 30*60, 12, 10, always(47_000), func(s int, r Estimate) {
		if off(r.Price, 50_000) > 0.01 {
			t.Fatalf("got %+v after %d s, want 50,000", r, s)
		}
	})
}

// TestHold_FollowsMarket has an established price jump, and fall by 15 % within an hour: the ladder moves along.
func TestHold_FollowsMarket(t *testing.T) {
	crash := func(s int) float64 { return 50_000 * (1 - 0.15*min(float64(s)/3600, 1)) }
	for name, c := range map[string]struct {
		path    func(second int) float64
		within  float64
		settled int // seconds
	}{
		"+3 %":             {always(51_500), 0.005, 600},
		"-10 %":            {always(45_000), 0.005, 600},
		"-15 % in an hour": {crash, 0.02, 600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, honest := newEngine(t, Options{}), newCrowd(56)
			end := establish(t, e, honest)
			sure := 0
			play(e, honest, end, 80*60, func(s int) float64 { return c.path(s - end) }, func(s int, r Estimate) {
				wrong := off(r.Price, c.path(s-end))
				if s-end > c.settled && wrong > c.within {
					t.Fatalf("got %+v after %d s, want %v", r, s-end, c.path(s-end))
				}
				if wrong > 0.02 && r.Confidence > 0.9 {
					sure += 5
				}
			})
			if sure > 120 {
				t.Errorf("got %d s of a confidence over 0.9 in a price more than 2 %% off, want 120 at most", sure)
			}
		})
	}
}

// TestHold_WeakerHonestLadder leaves a third of the honest payments, and replaces the others by ones without a ladder:
// that becomes usual.
func TestHold_WeakerHonestLadder(t *testing.T) {
	e, honest := newEngine(t, Options{}), newCrowd(57)
	end := establish(t, e, honest)
	noise := newCrowd(58)
	var last Estimate
	for s := end; s < end+4*3600; s++ {
		e.Add(second(s), []payment.Satoshi{honest.amount(50_000), honest.amount(50_000), honest.amount(50_000), honest.amount(50_000), honest.amount(50_000)})
		for range 9 { // at prices of any kind: no ladder
			e.Add(second(s), []payment.Satoshi{noise.amount(20_000 + 80_000*noise.random.Float64())})
		}
		if s%10 == 0 {
			last = e.Estimate(second(s))
		}
	}
	if off(last.Price, 50_000) > 0.01 || last.Confidence < 0.7 {
		t.Errorf("got %+v after four hours, want 50,000 and a confidence over 0.7", last)
	}
}
