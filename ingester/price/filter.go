package price

import "math"

// filter does the sums on beliefs, in scratch space of its own.
type filter struct {
	scratch belief
	blurred belief
}

// What the market does in a minute, as a mixture of Laplace densities. Most
// minutes are calm: 0.06 % is half a coin's usual 60 % a year, and the Laplace's
// own tails make up the rest. One in thirty is rough, one in a thousand a jump,
// and with anywhere the engine finds back from a price that is wrong by any
// factor. With these, steps of 3 and 10 % and drifts of 2 % an hour in streams of
// six blocks and the mempool are followed in minutes.
const (
	calmScale  = 0.0006
	roughScale = 0.004
	roughShare = 0.03
	jumpScale  = 0.03
	jumpShare  = 0.001
	anywhere   = 1e-6
)

// diffuse spreads a belief by what the market may do in a minute.
func (f *filter) diffuse(dst, src *belief) {
	const calmShare = 1 - roughShare - jumpShare - anywhere
	spread(dst, src, calmScale)
	for i, p := range dst {
		dst[i] = p*calmShare + anywhere/priceCells
	}
	f.mix(dst, src, roughScale, roughShare)
	f.mix(dst, src, jumpScale, jumpShare)
}

// mix adds a share of src, spread by a scale.
func (f *filter) mix(dst, src *belief, scale, share float64) {
	spread(&f.scratch, src, scale)
	for i, p := range f.scratch {
		dst[i] += share * p
	}
}

const (
	// temper is what a nat of evidence is worth: outputs are not independent
	// (one payer's habits come many times) and the ladder is not exactly right.
	// On samples of 250 to 4,000 transactions 0.45 to 0.75 are about
	// as well calibrated; from 0.6 on some factor of 2 is shown with over 0.9.
	temper = 0.6

	// settledLimit is how many nats one minute may move a settled belief in
	// favour of any other price. Two minutes of it, for an attack across the
	// turn of a minute, do not make up for how seldom the market jumps (ln 0.001
	// and the width of a jump); three to five minutes of a real step do.
	settledLimit = 2.2

	// floor is how likely, relative to the best price, a minute's outputs are at
	// any price: the odds that the model is beside the point, e^-20.
	floor = 2e-9
)

// update multiplies a belief by what one minute's evidence says of it. The more settled the belief, the less one minute
// may say against it; and belief in prices off the established one's ladder is limited until that has gone.
func (f *filter) update(dst, prior *belief, e *evidence, h hold) {
	best, present := int32(0), 0.0
	for i, v := range e.forPrice {
		best = max(best, v)
		present += prior[i] * float64(v)
	}
	limit := min(present*(temper/nat)+settledLimit/(h.settled*h.settled), float64(best)*(temper/nat))
	near, far := 0.0, 0.0 // on the established price's ladder, and off
	from, to := h.at-nearCells, h.at+nearCells
	for i, v := range e.forPrice {
		dst[i] = prior[i] * (math.Exp(min(float64(v)*(temper/nat)-limit, 0)) + floor)
		if i >= from && i <= to {
			near += dst[i]
		} else {
			far += dst[i]
		}
	}
	if most := near * h.limit; h.established && far > most {
		for i := range dst {
			if i < from || i > to {
				dst[i] *= most / far
			}
		}
	}
	dst.normalise()
}

// What no amount of outputs shows: how far people's idea of the price is from an
// exchange's. Mostly a little, but one time in seven the market has just
// moved, or two ideas of the price are about at once. Of the data's files from
// 2015 on half are within 0.2 % and one in ten is off by 0.8 to 1.1 %.
const (
	fineError   = 0.0012
	coarseError = 0.008
	coarseShare = 0.15
)

// blur adds to a belief what no amount of outputs shows.
func (f *filter) blur(dst, src *belief) {
	spread(dst, src, fineError)
	for i := range dst {
		dst[i] *= 1 - coarseShare
	}
	f.mix(dst, src, coarseError, coarseShare)
	dst.normalise()
}

// peak returns the place with the most belief within 1 %, to a part of a cell.
func (f *filter) peak(b *belief) float64 {
	run, best, at := 0.0, 0.0, 0
	for i, p := range b {
		run += p
		if i > 2*onePercent {
			run -= b[i-2*onePercent-1]
		}
		if run > best {
			best, at = run, i-onePercent
		}
	}
	place := float64(max(at, 0))
	for range 3 { // settles where its surroundings balance
		place = b.centre(place)
	}
	return place
}

// settled returns the most belief there is within 1 % of one price.
func (b *belief) settled() float64 {
	run, best := 0.0, 0.0
	for i, p := range b {
		run += p
		if i > 2*onePercent {
			run -= b[i-2*onePercent-1]
		}
		best = max(best, run)
	}
	return max(best, 1e-6)
}
