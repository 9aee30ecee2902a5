package price

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"sightglass/ingester/payment"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
	"sightglass/shared/contract"
)

// btcdBlock returns the payments of the block of 2 May 2019 that comes with btcd.
func btcdBlock(t *testing.T) [][]payment.Satoshi {
	t.Helper()
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	return payment.All(file.Transactions)
}

// evidenceOf returns the evidence of payments that are all seen at once.
func evidenceOf(t *testing.T, all [][]payment.Satoshi) *contract.Evidence {
	t.Helper()
	e := newEngine(t, Options{})
	for _, amounts := range all {
		e.Add(start, amounts)
	}
	e.Estimate(start)
	v := e.Evidence(start)
	if v == nil {
		t.Fatal("got no evidence, want some")
	}
	return v
}

// edge returns the lower edge of a bin.
func edge(b *contract.Bins, k float64) float64 { return b.From * math.Pow(10, b.Step*k) }

// peak returns the price with the most payments in three bins (0.3 %), and how many that is, over the median.
func peak(b *contract.Bins) (price, height float64) {
	var smooth []uint64
	best := 0
	for i := 1; i+1 < len(b.Counts); i++ {
		smooth = append(smooth, b.Counts[i-1]+b.Counts[i]+b.Counts[i+1])
		if smooth[i-1] > smooth[best] {
			best = i - 1
		}
	}
	most := smooth[best]
	slices.Sort(smooth)
	return edge(b, float64(best)+1.5), float64(most) / float64(smooth[len(smooth)/2])
}

func TestEngine_EvidencePeaksAtPrice(t *testing.T) {
	v := evidenceOf(t, btcdBlock(t))
	if at, height := peak(&v.Prices.Bins); math.Abs(at/v.Price-1) > 0.01 || height < 3 {
		t.Errorf("got a peak at %.2f, %.1f times the median, want one at %v of 3 times", at, height, v.Price)
	}
	if first, last := v.Prices.From, edge(&v.Prices.Bins, float64(len(v.Prices.Counts))); math.Abs(first/v.Price-0.9) > 0.001 || math.Abs(last/v.Price-1.1) > 0.001 {
		t.Errorf("got prices from %v to %v, want 10 %% on either side of %v", first, last, v.Price)
	}
	sum, likeliest := 0.0, 0
	for i, p := range v.Prices.Probabilities {
		sum += p
		if p > v.Prices.Probabilities[likeliest] {
			likeliest = i
		}
	}
	if at := edge(&v.Prices.Bins, float64(likeliest)+0.5); sum < 0.9 || sum > 1 || math.Abs(at/v.Price-1) > 0.005 {
		t.Errorf("got probabilities that sum to %v, most at %v, want nearly 1, and %v", sum, at, v.Price)
	}
}

func TestEngine_EvidenceHasRungs(t *testing.T) {
	v := evidenceOf(t, btcdBlock(t))
	for _, dollars := range []float64{10, 20, 50, 100} {
		satoshi := dollars / v.Price * 1e8
		k := int(math.Log10(satoshi/v.Amounts.From) / v.Amounts.Step)
		t.Logf("%v USD: %d payments, %.1f expected", dollars, v.Amounts.Counts[k], v.Amounts.Expected[k])
		if float64(v.Amounts.Counts[k]) < 1.5*v.Amounts.Expected[k] {
			t.Errorf("got %d payments of %v USD, want half as many again as the expected %.1f", v.Amounts.Counts[k], dollars, v.Amounts.Expected[k])
		}
	}
	counted, expected := 0.0, 0.0
	for i, n := range v.Amounts.Counts {
		counted += float64(n)
		expected += v.Amounts.Expected[i]
	}
	if math.Abs(expected/counted-1) > 0.05 {
		t.Errorf("got %.0f payments expected in all bins, want about the %.0f that there are", expected, counted)
	}
	first, last := v.Amounts.From*v.Price/1e8, edge(&v.Amounts.Bins, amountBins)*v.Price/1e8
	if math.Abs(first/3.55-1) > 0.02 || math.Abs(last/1122-1) > 0.02 {
		t.Errorf("got amounts from %.2f to %.0f USD, want 3.55 to 1122, up to half a bin of the background", first, last)
	}
	if len(v.Rungs) != len(rungs) || v.Rungs[0] != (contract.Rung{Dollars: 1, Share: 0.00183}) {
		t.Errorf("got the rungs %v, want the ladder's %d", v.Rungs, len(rungs))
	}
}

func TestEngine_NoEvidenceWithoutPrice(t *testing.T) {
	e := newEngine(t, Options{})
	if got := e.Evidence(start); got != nil {
		t.Errorf("got %+v before the first estimate, want none", got)
	}
	e.Add(start, newCrowd(1).pay(50_000))
	e.Estimate(start)
	if got := e.Evidence(start); got != nil {
		t.Errorf("got %+v without a price, want none", got)
	}
}

// TestEngine_EvidenceHasNoPiles: one payer sends one amount 5,000 times in a minute, and another one a dozen times each
// minute.
func TestEngine_EvidenceHasNoPiles(t *testing.T) {
	e := newEngine(t, Options{})
	c := newCrowd(60)
	batch, favourite := payment.Satoshi(33.0/50_000*1e8), payment.Satoshi(66.0/50_000*1e8)
	seconds := play(e, c, 0, 30, always(50_000), nil)
	e.Add(second(seconds), slices.Repeat([]payment.Satoshi{batch}, 5000))
	for ; seconds < 2400; seconds = play(e, c, seconds, 60, always(50_000), nil) {
		e.Add(second(seconds), slices.Repeat([]payment.Satoshi{favourite}, 12))
	}
	e.Estimate(second(seconds))
	v := e.Evidence(second(seconds))
	for _, a := range []payment.Satoshi{batch, favourite} {
		k := int(math.Log10(float64(a)/v.Amounts.From) / v.Amounts.Step)
		if got, want := float64(v.Amounts.Counts[k]), 3*v.Amounts.Expected[k]; got > want {
			t.Errorf("got %v payments of %d satoshi, want %.0f at most", got, a, want)
		}
	}
	if at, _ := peak(&v.Prices.Bins); math.Abs(at/50_000-1) > 0.005 {
		t.Errorf("got a peak at %v, want one at 50,000", at)
	}
}

// TestEngine_EvidenceOfTwoAges: prices are of the last hour, amounts of the whole window.
func TestEngine_EvidenceOfTwoAges(t *testing.T) {
	e := newEngine(t, Options{Near: 50_000})
	total := func(counts []uint64) (sum uint64) {
		for _, n := range counts {
			sum += n
		}
		return sum
	}
	end := play(e, newCrowd(61), 0, 600, always(50_000), nil)
	e.Estimate(second(end))
	now := e.Evidence(second(end))
	e.Estimate(second(end + 3600))
	later := e.Evidence(second(end + 3600))
	e.Estimate(second(end + 3*3600))
	last := e.Evidence(second(end + 3*3600))
	if n := total(now.Prices.Counts); n == 0 || now.Prices.Seconds != 3600 || now.Amounts.Seconds != 10800 {
		t.Errorf("got %d prices of %d s and amounts of %d s, want some of 3600 s and 10800 s", n, now.Prices.Seconds, now.Amounts.Seconds)
	}
	if n := total(later.Prices.Counts); n != 0 {
		t.Errorf("got %d prices after an hour without payments, want none", n)
	}
	if was, is := total(now.Amounts.Counts), total(later.Amounts.Counts); off(USD(is), float64(was)) > 0.05 {
		t.Errorf("got %d amounts after an hour, want about the %d of before", is, was)
	}
	if last != nil && total(last.Amounts.Counts) != 0 {
		t.Errorf("got %d amounts after three hours, want none", total(last.Amounts.Counts))
	}
}

// TestHistogram_ImpliesAsImplied: by cells, so up to one of 0.1 % beside. Where an amount is in the middle between two
// rungs, either one may be the nearest.
func TestHistogram_ImpliesAsImplied(t *testing.T) {
	for _, near := range []USD{5_313.57, 73_300, 1_234_567} {
		h, c := newHistogram(placeOf(near)), newCrowd(62)
		wrong := 0
		const amounts = 20_000
		for range amounts {
			a := c.amount(float64(near))
			if a < 2000 {
				continue // a satoshi is more than half a cell
			}
			cell, _ := amountCell(a)
			i := h.implied[cell]
			want, _, ok := Implied(a, near)
			if ok != (i != none) || ok && math.Abs(float64(h.firstPrice)+float64(i)-placeOf(want)) > 1.01 {
				wrong++
			}
		}
		if wrong > amounts/100 {
			t.Errorf("near %v: got %d of %d amounts with another price than Implied's, want 1 %% at most", near, wrong, amounts)
		}
	}
}

// TestHistogram_AnyPrice has the bins of the lowest and the highest prices: they stay on the grid.
func TestHistogram_AnyPrice(t *testing.T) {
	for _, p := range []USD{minPrice, 1.05, 9.5e6, maxPrice} {
		h := newHistogram(placeOf(p))
		if n := len(h.prices); n < 90 || n > 201 || h.firstPrice < 0 || h.firstPrice+n > priceCells {
			t.Errorf("at %v: got %d prices from cell %d, want cells of the grid", p, n, h.firstPrice)
		}
		if last := h.firstAmount + amountBins*cellsPerAmountBin; h.firstAmount%cellsPerBin != 0 || last > amountCells {
			t.Errorf("at %v: got amounts from cell %d to %d, want the grid's, from a bin of the background on", p, h.firstAmount, last)
		}
	}
}

// TestEngine_EvidenceOfRealData prints how clear the peak is in blocks and a mempool.
func TestEngine_EvidenceOfRealData(t *testing.T) {
	tests := []struct {
		name  string
		truth float64
	}{
		{"512500", 9981.5}, {"587500", 9509.75}, {"625000", 7310.54}, {"739990", 30_252.78}, {"785391", 30_276.89}, {"799994", 29_860.92},
		{"818677", 37_332.05}, {"849236", 63_030.07}, {"866342", 68_262.90}, {"893531", 90_842.79}, {"mempool", 73_200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var all [][]payment.Satoshi
			if tt.name == "mempool" {
				all = mempoolPayments(t)
			} else {
				all = blockPayments(t, fmt.Sprintf("blocks/%s.raw.gz", tt.name))
			}
			v := evidenceOf(t, all)
			at, height := peak(&v.Prices.Bins)
			t.Logf("price %.2f, peak at %.2f, %.1f times the median, true %v; %d bytes", v.Price, at, height, tt.truth, len(v.AppendJSON(nil)))
			if math.Abs(at/tt.truth-1) > 0.01 || height < 2.5 {
				t.Errorf("got a peak at %.2f, %.1f times the median, want one at %v of 2.5 times", at, height, tt.truth)
			}
		})
	}
}
