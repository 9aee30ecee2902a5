package price

import (
	"math"
	"time"

	"sightglass/shared/contract"
)

// The histograms that show what a price was read from.
const (
	// amountBins of cellsPerAmountBin cells reach from leastShown on over two and a half decades: from $3.55 to $1,122, where
	// most of the rungs with the most payments are. A bin of 0.9 % is narrower than a rung, and four are one of the background.
	amountBins        = 640
	cellsPerAmountBin = 9
	leastShown        = 0.55 // log10 of dollars

	// shownMinutes is how far back the payments in the histogram by price reach. The market moves by less than a rung's
	// width in most hours.
	shownMinutes = 60
)

// histogram collects what Evidence returns. Outputs are counted in 1/fullTrust.
type histogram struct {
	outputs     int // of all amounts, in the window
	firstAmount int // the cell where the bins begin
	amounts     [amountBins]int
	firstPrice  int   // the cell of the first price
	prices      []int // by cell

	implied [amountCells]int16 // the index in prices that an amount's cell implies; none
}

// Evidence returns what the price of the last Estimate was read from, and nil if there was none. now is its timestamp only.
//
// It counts outputs as the engine does: of each minute at most pileLimit of a cell, and no more of its cluster than
// background.clusterLimit; of an amount that goes on for hours, what it is trusted by now. One payer's batch or favourite
// amount therefore makes no bin much higher. Amounts are of the window, in satoshi; prices are those that the outputs of the
// last hour imply, each by the rung nearest to it, as Implied says. The probabilities are those that the price was read
// from.
func (e *Engine) Evidence(now time.Time) *contract.Evidence {
	if e.last.Price == 0 {
		return nil
	}
	h := newHistogram(placeOf(e.last.Price))
	e.count(h)
	v := &contract.Evidence{
		Timestamp: float64(now.UnixMilli()) / 1000,
		Price:     e.last.Price.Cents(), Low: e.last.Low.Cents(), High: e.last.High.Cents(), Confidence: e.last.Confidence,
	}
	v.Amounts.Bins = binsOf(h.amounts[:], h.firstAmount, cellsPerAmountBin, windowMinutes)
	v.Amounts.Expected = make([]float64, amountBins)
	for i := range v.Amounts.Expected {
		density := math.Exp(e.background.logDensity[(h.firstAmount+i*cellsPerAmountBin)/cellsPerBin])
		v.Amounts.Expected[i] = density * cellsPerAmountBin * float64(h.outputs) / fullTrust
	}
	v.Prices.Bins = binsOf(h.prices, h.firstPrice, 1, shownMinutes)
	v.Prices.Probabilities = append([]float64(nil), e.filter.blurred[h.firstPrice:h.firstPrice+len(h.prices)]...)
	for _, r := range rungs {
		v.Rungs = append(v.Rungs, contract.Rung{Dollars: float64(r.Dollars), Share: r.Share})
	}
	return v
}

// count adds the outputs of the window.
func (e *Engine) count(h *histogram) {
	counted := e.pool.get()
	defer e.pool.put(counted)
	for i := range e.window.buckets {
		b := &e.window.buckets[i]
		counted.restart()
		recent := b.minute > e.tick-shownMinutes
		for _, c := range b.cells {
			if counted.counts(&e.background, c) {
				h.add(int(c), int(e.background.trust[c]), recent)
			}
		}
	}
}

func newHistogram(place float64) *histogram {
	h := &histogram{}
	lowest := (satoshiCells + leastShown*cellsPerDecade - place) / cellsPerBin
	h.firstAmount = max(int(lowest+0.5), 0) * cellsPerBin // where a bin of the background begins
	h.firstPrice = max(int(place+cellsFor(-impliedReach)+0.5), 0)
	last := min(int(place+cellsFor(impliedReach)+0.5), priceCells-1)
	h.prices = make([]int, last-h.firstPrice+1)
	h.imply(place)
	return h
}

// imply fills in what each amount implies near a price. Implied takes a loop for each output.
func (h *histogram) imply(place float64) {
	nearest := 0
	dollars := make([]float64, len(rungs)) // the rungs' places
	for i, r := range rungs {
		dollars[i] = placeOf(r.Dollars)
	}
	for c := range h.implied {
		h.implied[c] = none
		at := float64(c-satoshiCells) + place // the amount, on the scale of dollars
		for nearest+1 < len(dollars) && math.Abs(dollars[nearest+1]-at) < math.Abs(dollars[nearest]-at) {
			nearest++
		}
		off := dollars[nearest] - at
		if i := int(math.Floor(place+off+0.5)) - h.firstPrice; math.Abs(off) < -cellsFor(-impliedReach) && i >= 0 && i < len(h.prices) {
			h.implied[c] = int16(i)
		}
	}
}

// add adds an output with an amount's cell and the trust in it. Only recent ones imply a price.
func (h *histogram) add(cell, trust int, recent bool) {
	h.outputs += trust
	if i := (cell - h.firstAmount) / cellsPerAmountBin; cell >= h.firstAmount && i < amountBins {
		h.amounts[i] += trust
	}
	if i := h.implied[cell]; recent && i != none {
		h.prices[i] += trust
	}
}

// binsOf returns the bins of sums in 1/fullTrust. A bin has some cells, and cell c reaches from c-1/2 to c+1/2.
func binsOf(sums []int, first, cells int, minutes int64) contract.Bins {
	b := contract.Bins{
		From:    math.Pow(10, (float64(first)-0.5)/cellsPerDecade),
		Step:    float64(cells) / cellsPerDecade,
		Seconds: uint64(minutes * int64(time.Minute/time.Second)),
		Counts:  make([]uint64, len(sums)),
	}
	for i, n := range sums {
		b.Counts[i] = uint64(n+fullTrust/2) / fullTrust
	}
	return b
}
