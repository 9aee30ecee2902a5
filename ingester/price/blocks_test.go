package price

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sightglass/ingester/payment"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
)

// payments returns the payment amounts in a file.
func payments(t testing.TB, path string) []payment.Satoshi {
	t.Helper()
	file, err := txfile.Read(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(payment.All(file.Transactions)...)
}

// walk makes up blocks, ten minutes apart on average, with amounts drawn from those of a real block and scaled to a price
// that moves by 4 % a day, and by 10 % at once in the middle.
func walk(t testing.TB, amounts []payment.Satoshi, start float64, n int) (steps []Step, prices []float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	w, err := NewBlockWeigher(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := 0.0
	for k := range n {
		gap := rng.ExpFloat64() * 10
		log += rng.NormFloat64() * 0.04 * math.Sqrt(gap/(24*60))
		if k == n/2 {
			log -= 0.1
		}
		var drawn []payment.Satoshi
		for range min(len(amounts), 1000) {
			drawn = append(drawn, payment.Satoshi(float64(amounts[rng.IntN(len(amounts))])*math.Exp(-log)))
		}
		steps = append(steps, Step{w.Weigh([][]payment.Satoshi{drawn})[0], time.Duration(gap * float64(time.Minute))})
		prices = append(prices, start*math.Exp(log))
	}
	return steps, prices
}

// follow follows all steps, in the way of the backfill.
func follow(t testing.TB, near USD, steps []Step) (all []Estimate) {
	t.Helper()
	f, err := NewBlockFilter(near)
	if err != nil {
		t.Fatal(err)
	}
	const keep, ahead = 48, 24
	for k := 0; k < len(steps); k += keep {
		n := min(keep, len(steps)-k)
		all = append(all, f.Follow(steps[k:min(k+n+ahead, len(steps))], n)...)
	}
	return all
}

func errorsOf(estimates []Estimate, prices []float64) []float64 {
	all := make([]float64, len(prices))
	for i, e := range estimates {
		all[i] = math.Abs(float64(e.Price)/prices[i] - 1)
	}
	return all
}

// TestBlockFilter_FollowsMarket: cold and with a hint, forward and backward, over a step of 10 %.
func TestBlockFilter_FollowsMarket(t *testing.T) {
	steps, prices := walk(t, payments(t, testblock.Path(t, testblock.Block574200)), testblock.Price574200, 120)
	for _, backward := range []bool{false, true} {
		if backward {
			for i := range len(steps) - 1 { // a gap leads to its step
				steps[i].Gap = steps[i+1].Gap
			}
			slices.Reverse(steps)
			slices.Reverse(prices)
		}
		for _, near := range []USD{0, USD(prices[0] * 1.08)} {
			t.Run(fmt.Sprintf("backward %v near %.0f", backward, near), func(t *testing.T) {
				estimates := follow(t, near, steps)
				off := errorsOf(estimates, prices)
				covered := 0
				for i, e := range estimates {
					if float64(e.Low) <= prices[i] && prices[i] <= float64(e.High) {
						covered++
					}
				}
				slices.Sort(off)
				if median, worst := off[len(off)/2], off[len(off)-1]; median > 0.002 || worst > 0.01 {
					t.Errorf("got errors of %.2f %% in the median and %.2f %% at most, want under 0.2 %% and 1 %%", 100*median, 100*worst)
				}
				if covered < 108 {
					t.Errorf("got %d of 120 prices in their intervals, want nine in ten", covered)
				}
			})
		}
	}
}

// TestBlockFilter_KeepsLadder has blocks of years that prefer the ladder of another price, drawn from a hundred times: at
// five or ten times the price in 2015 to 2017, at a tenth in a token wave.
func TestBlockFilter_KeepsLadder(t *testing.T) {
	for height, truth := range map[int]float64{362500: 242.9, 425000: 588.48, 462500: 1198.72, 840243: 64715} {
		t.Run(fmt.Sprint(height), func(t *testing.T) {
			amounts := payments(t, testblock.Data(t, fmt.Sprintf("blocks/%d.raw.gz", height)))
			steps, prices := walk(t, amounts, truth, 100)
			if off := errorsOf(follow(t, USD(truth), steps), prices); slices.Max(off) > 0.02 {
				t.Errorf("got prices off by %.1f %%, want 2 %% at most", 100*slices.Max(off))
			}
		})
	}
}

// TestBlockFilter_KnowsGap: the same evidence against a price is believed after a month, and not after ten minutes.
func TestBlockFilter_KnowsGap(t *testing.T) {
	w, err := NewBlockWeigher(nil)
	if err != nil {
		t.Fatal(err)
	}
	amounts := payments(t, testblock.Path(t, testblock.Block574200))
	scaled := make([]payment.Satoshi, len(amounts))
	for i, a := range amounts {
		scaled[i] = payment.Satoshi(float64(a) / 1.5)
	}
	before, after := w.Weigh([][]payment.Satoshi{amounts})[0], w.Weigh([][]payment.Satoshi{scaled})[0]
	for gap, want := range map[time.Duration]float64{10 * time.Minute: 1, 30 * 24 * time.Hour: 1.5} {
		e := follow(t, testblock.Price574200, []Step{{before, 0}, {before, 10 * time.Minute}, {after, gap}})[2]
		if got := float64(e.Price) / testblock.Price574200; math.Abs(got/want-1) > 0.2 {
			t.Errorf("after %v: got %.2f times the price, want about %v", gap, got, want)
		}
	}
}

// TestBlockFilter_NoEvidence: empty blocks widen the interval around the last price.
func TestBlockFilter_NoEvidence(t *testing.T) {
	w, err := NewBlockWeigher(nil)
	if err != nil {
		t.Fatal(err)
	}
	all := w.Weigh([][]payment.Satoshi{payments(t, testblock.Path(t, testblock.Block574200)), nil, nil})
	got := follow(t, 5000, []Step{{all[0], 0}, {all[1], time.Hour}, {all[2], 24 * time.Hour}})
	for i := 1; i < len(got); i++ {
		a, b := got[i-1], got[i]
		if math.Abs(float64(b.Price/a.Price)-1) > 0.01 || b.High-b.Low <= a.High-a.Low || b.Confidence >= a.Confidence {
			t.Errorf("got %+v after %+v, want the price kept with less confidence", b, a)
		}
	}
}

func TestNewBlockFilter_RejectsHint(t *testing.T) {
	for _, near := range []USD{-1, 0.5, 1e9, USD(math.NaN())} {
		if _, err := NewBlockFilter(near); !errors.Is(err, ErrOptions) {
			t.Errorf("%v: got %v, want ErrOptions", near, err)
		}
	}
}

// BenchmarkFollow measures the filter without the evidence, by block.
func BenchmarkFollow(b *testing.B) {
	steps, _ := walk(b, payments(b, testblock.Path(b, testblock.Block574200)), testblock.Price574200, 72)
	f, err := NewBlockFilter(testblock.Price574200)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		f.Follow(steps, 48)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(48*b.N), "us/block")
}

// TestBlockFilter_IgnoresFalsePayments has round payments at a false price in each of sixty blocks, as one in twenty outputs.
func TestBlockFilter_IgnoresFalsePayments(t *testing.T) {
	amounts := payments(t, testblock.Path(t, testblock.Block574200))
	for _, factor := range []float64{0.5, 0.95, 1.2} {
		t.Run(fmt.Sprint(factor), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 3))
			w, err := NewBlockWeigher(nil)
			if err != nil {
				t.Fatal(err)
			}
			var steps []Step
			for k := range 80 {
				var drawn []payment.Satoshi
				for range 1000 {
					drawn = append(drawn, amounts[rng.IntN(len(amounts))])
				}
				for range 50 {
					if pick := rng.IntN(len(rungs)); k >= 20 {
						drawn = append(drawn, payment.Satoshi(float64(rungs[pick].Dollars)/(testblock.Price574200*factor)*1e8))
					}
				}
				steps = append(steps, Step{w.Weigh([][]payment.Satoshi{drawn})[0], 10 * time.Minute})
			}
			for k, e := range follow(t, testblock.Price574200, steps) {
				if off := math.Abs(float64(e.Price)/testblock.Price574200 - 1); off > 0.01 {
					t.Fatalf("block %d: got %.0f, %.1f %% off, want the honest price", k, e.Price, 100*off)
				}
			}
		})
	}
}
