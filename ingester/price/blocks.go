package price

import (
	"fmt"
	"math"
	"slices"
	"time"

	"sightglass/ingester/payment"
)

// Evidence is what a block's payments say about the price. It takes 130 kB.
type Evidence struct {
	likelihood [priceCells]float64 // relative to that of the likeliest price
	mean       float64             // of log10 satoshi, of the background
	outputs    int
}

// A BlockWeigher turns the payments of blocks into Evidence, which does not depend on a price. It is for one goroutine at
// a time: several weighers work on several blocks.
type BlockWeigher struct {
	weigher    *weigher
	background background
	counts     []int32
	scratch    evidence
}

// NewBlockWeigher returns a weigher with a ladder, nil for the fitted one. The error is ErrOptions.
func NewBlockWeigher(ladder []Rung) (*BlockWeigher, error) {
	if ladder != nil {
		if err := validate(ladder); err != nil {
			return nil, err
		}
	}
	return &BlockWeigher{weigher: weigherOf(ladder), background: newBackground(), counts: make([]int32, amountCells)}, nil
}

// Weigh returns the evidence of neighbouring blocks, of which it takes the payment amounts. Their background is common:
// that of a small block alone is not known well.
func (w *BlockWeigher) Weigh(blocks [][]payment.Satoshi) []*Evidence {
	clear(w.counts)
	total := 0
	cells := make([][]uint16, len(blocks))
	for i, amounts := range blocks {
		for _, a := range amounts {
			if c, ok := amountCell(a); ok && len(cells[i]) < minuteLimit {
				cells[i] = append(cells[i], c)
				w.counts[c]++
				total++
			}
		}
	}
	w.background.update(w.counts, total)
	all := make([]*Evidence, len(blocks))
	for i := range blocks {
		w.scratch = evidence{}
		w.weigher.add(&w.scratch, &w.background, cells[i], none)
		all[i] = &Evidence{mean: w.background.mean, outputs: w.scratch.outputs}
		all[i].set(&w.scratch.forPrice)
	}
	return all
}

// set makes evidence of sums over outputs: their shape within a ladder's reach, and a part of the ladder's height.
func (e *Evidence) set(sums *[priceCells]int32) {
	var candidates []int // cells within reach, each higher than all after it
	top := 0.0
	for i, next := 0, 0; i < priceCells; i++ {
		for ; next < min(i+ladderReach+1, priceCells); next++ {
			for len(candidates) > 0 && sums[candidates[len(candidates)-1]] <= sums[next] {
				candidates = candidates[:len(candidates)-1]
			}
			candidates = append(candidates, next)
		}
		if candidates[0] < i-ladderReach {
			candidates = candidates[1:]
		}
		height := float64(sums[candidates[0]])
		e.likelihood[i] = (float64(sums[i]) - (1-ladderTemper)*height) * (temper / nat)
		top = max(top, e.likelihood[i])
	}
	for i, log := range e.likelihood {
		e.likelihood[i] = math.Exp(log - top)
	}
}

// A BlockFilter follows the price from block to block, forward or backward in time: the market is as likely to move one
// way as the other. Unlike an Engine it has no hold, since a market moves by more than the hold's 1 % between two blocks
// every day. It takes 0.6 MB, and is for one goroutine at a time.
type BlockFilter struct {
	filter      filter
	last        part // after the last block
	near        USD
	started     bool
	quiet, busy belief // scratch of drift
}

// NewBlockFilter returns a filter without a block. near is a price in USD known to be within 10 % of the true one at the
// first block; 0: none is known. The error is ErrOptions.
func NewBlockFilter(near USD) (*BlockFilter, error) {
	if near != 0 && !(near >= minPrice && near <= maxPrice) {
		return nil, fmt.Errorf("%w: hint of %v USD is not between %v and %v", ErrOptions, near, minPrice, maxPrice)
	}
	return &BlockFilter{near: near}, nil
}

// A Step is a block on the way of a filter.
type Step struct {
	Evidence *Evidence
	Gap      time.Duration // from the block before it on the way to this one, positive in both directions
}

// Follow returns the estimates at the first n of the steps. What comes after the n-th is looked at, so that the estimates
// know what the market did next as well as what it did before, and is to be passed again. Follow takes 130 kB a step.
func (f *BlockFilter) Follow(steps []Step, n int) []Estimate {
	ahead := make([]part, len(steps)) // by the blocks before, without the step's own evidence
	for k, s := range steps {
		p := &ahead[k]
		switch {
		case f.started:
			f.drift(p, &f.last, s.Gap)
		case f.near > 0:
			p.beHinted(float64(f.near))
			p.to = priceCells
		default:
			p.beCold(s.Evidence.mean)
			p.to = priceCells
		}
		f.started = true
		f.last.judge(p, s.Evidence)
	}
	estimates := make([]Estimate, n)
	var back, after part // by the blocks after, without and with the step's own evidence
	back.to = priceCells
	for i := range back.belief {
		back.belief[i] = 1.0 / priceCells
	}
	for k := len(steps) - 1; k >= 0; k-- {
		p, e := &ahead[k], steps[k].Evidence
		agree := back.limit(p) // see leastBelief
		if k == n-1 {
			f.last.judge(p, e)
		}
		if k < n {
			if agree > 0 {
				for i := p.from; i < p.to; i++ {
					p.belief[i] *= back.belief[i] / agree
				}
			}
			after.judge(p, e)
			estimates[k] = f.read(&after.belief, e)
		}
		after.judge(&back, e)
		f.drift(&back, &after, steps[k].Gap)
	}
	return estimates
}

// read reads price, interval and confidence off a belief.
func (f *BlockFilter) read(b *belief, e *Evidence) Estimate {
	p := &f.filter.blurred
	f.filter.blur(p, b)
	place := f.filter.peak(p)
	est := Estimate{Price: priceOf(place), Confidence: p.near(place), Outputs: e.outputs}
	est.Low = min(priceOf(p.quantile(intervalTail)), est.Price)
	est.High = max(priceOf(p.quantile(1-intervalTail)), est.Price)
	return est
}

const (
	// ladderReach is how far, in cells, the ladder at one price makes evidence for others: 1.5 %, the width of a rung.
	ladderReach = 15

	// ladderTemper is what the height of a ladder counts, of evidence that counts fully within ladderReach. How many people
	// pay each amount differs between years, so which of two ladders fits better, the one at a price or the one at its
	// tenfold, is a matter of the year, and any number of outputs says the same.
	ladderTemper = 0.3

	// leastBelief is the least belief, relative to the most, that is kept. Without it a price that the market can hardly have
	// reached would, in a year that prefers its ladder, be believed in the end.
	leastBelief = 1e-12
)

// A part is a belief that is 0 outside of the cells from one to before another: between two blocks the market cannot go far,
// and there is no need to look further.
type part struct {
	belief
	from, to int
}

// reset makes the part 0 within new bounds.
func (b *part) reset(from, to int) {
	clear(b.belief[b.from:b.to])
	b.from, b.to = from, to
}

// judge makes the belief a prior one times a block's evidence.
func (b *part) judge(prior *part, e *Evidence) {
	b.reset(prior.from, prior.to)
	for i := b.from; i < b.to; i++ {
		b.belief[i] = prior.belief[i] * e.likelihood[i]
	}
	b.prune()
}

// limit removes belief where another has none. It returns the sum of their product.
func (b *part) limit(other *part) (product float64) {
	for i := b.from; i < b.to; i++ {
		if i < other.from || i >= other.to || other.belief[i] == 0 {
			b.belief[i] = 0
		}
		product += b.belief[i] * other.belief[i]
	}
	return product
}

// prune removes what is less than leastBelief, and makes the rest sum to 1.
func (b *part) prune() {
	least, sum := 0.0, 0.0
	if b.from < b.to {
		least = leastBelief * slices.Max(b.belief[b.from:b.to])
	}
	from, to := b.to, b.from
	for i := b.from; i < b.to; i++ {
		if b.belief[i] <= least {
			b.belief[i] = 0
			continue
		}
		sum += b.belief[i]
		from, to = min(from, i), i+1
	}
	b.from, b.to = min(from, to), to
	for i := b.from; i < b.to; i++ {
		b.belief[i] /= sum
	}
}

// What the market does between two blocks, as a filter over minutes does not see it: for hours to months it is quiet or it
// is busy. A year of quiet has a standard deviation of 0.6 (of the logarithm), a year of busy 1.5; from 1 to 18 December
// 2017 the price doubled. On top of it come the jumps of single minutes, which are one day's affair, or the tails of a long
// gap would reach any price. Many moves add up to a bell.
const (
	busyScale   = 2.5 * calmScale
	busyShare   = 0.2
	jumpMinutes = 24 * 60

	maxMoves    = 8 // that a gap is made of
	moveMinutes = 30
)

// drift spreads a belief by what the market may do in a gap. Unlike diffuse it leaves nothing to prices that are anywhere:
// see leastBelief.
func (f *BlockFilter) drift(dst, src *part, gap time.Duration) {
	minutes := gap.Minutes()
	moves := math.Ceil(min(max(minutes/moveMinutes, 1), maxMoves))
	step := math.Sqrt(minutes / moves)
	jump := jumpScale * math.Sqrt(max(1, jumpShare*min(minutes, jumpMinutes)))
	// A Laplace density is less than leastBelief at 28 of its scales, a sum of some sooner.
	const scales = 28
	reach := int(scales * (math.Sqrt(moves)*cellsFor(busyScale*step) + cellsFor(jump)))
	from, to := max(src.from-reach, 0), min(src.to+reach, priceCells)
	dst.reset(from, to)
	quiet, busy, scratch, into := f.quiet[from:to], f.busy[from:to], f.filter.scratch[from:to], dst.belief[from:to]
	copy(quiet, src.belief[from:to])
	copy(busy, quiet)
	for range int(moves) {
		spreadPart(scratch, quiet, calmScale*step)
		copy(quiet, scratch)
		spreadPart(scratch, busy, busyScale*step)
		copy(busy, scratch)
	}
	for i, p := range quiet {
		into[i] = p + busyShare*(busy[i]-p)
	}
	once := 1 - math.Pow(1-jumpShare, min(minutes, jumpMinutes))
	spreadPart(scratch, into, jump)
	for i, p := range scratch {
		into[i] += once * (p - into[i])
	}
	dst.prune()
}
