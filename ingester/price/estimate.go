package price

import (
	"time"

	"sightglass/shared/contract"
)

// Status says whether an estimate is fit to be shown.
type Status uint8

// The statuses.
const (
	Warming   Status = iota // no price yet, or one that is more likely wrong than right
	Live                    // a price
	Contested               // a price, beside which a second ladder stands that may be the honest one
)

const (
	// liveConfidence: more likely right than not.
	liveConfidence = 0.5

	// coldConfidence is the least at which a price is shown before one is established. A cold start is wrong by a factor,
	// not by a little: with 250 to 300 outputs two of fourteen were, at 0.5 to 0.6, and block 840243, of the first days of
	// runes, is at 0.71. No price is better than such a price.
	coldConfidence = contract.SureConfidence
)

// String returns the status in a word.
func (s Status) String() string {
	return [...]string{"warming", "live", "contested"}[s]
}

// Estimate is what the engine believes at a time.
type Estimate struct {
	Price      USD     // 0 while there is none: see coldConfidence
	Low, High  USD     // the true price is between them with probability 0.9; 0 without a price
	Confidence float64 // probability that the true price is within 1 % of Price; 0 without a price
	Status     Status
	Outputs    int // amounts in the window
}

// The interval leaves out this much on either side.
const intervalTail = 0.05

// Estimate returns the price at a time, which is not before that of the newest
// transaction. If nothing came since and the minute is the same, it returns
// what it did before. It allocates nothing.
//
// The result does not depend on the order of adding but for two things that
// cannot be seen in it: a change of less than a hundredth of the window in
// minutes that are over, and a background that is up to a third of the outputs
// behind.
func (e *Engine) Estimate(now time.Time) Estimate {
	tick := max(minuteOf(now), e.window.newest)
	if e.fresh && tick == e.tick {
		return e.last
	}
	e.window.advance(tick, &e.pool)
	e.tick, e.fresh = tick, true
	e.last = Estimate{Outputs: e.window.total}
	if e.window.total == 0 && e.timeline.baseAt == never {
		return e.last
	}
	e.catchUp(tick)
	b := e.window.at(tick)
	e.weigh(b)
	e.filter.update(&e.open, &e.timeline.prior, b.sum, e.holdOpen(b))
	e.read(&e.last)
	return e.last
}

// read reads price, interval and confidence off the belief.
func (e *Engine) read(r *Estimate) {
	p := &e.filter.blurred
	e.filter.blur(p, &e.open)
	place := e.filter.peak(p)
	e.doubt(p, place)
	r.Price = priceOf(place)
	r.Low = priceOf(p.quantile(intervalTail))
	r.High = priceOf(p.quantile(1 - intervalTail))
	// A flat top can have its middle outside of a lopsided belief's interval.
	r.Low, r.High = min(r.Low, r.Price), max(r.High, r.Price)
	r.Confidence = p.near(place)
	established := e.timeline.strength.established() || e.options.Near > 0
	switch {
	case e.contest.share >= contestedShare:
		r.Status = Contested
	case r.Confidence >= coldConfidence, established && r.Confidence >= liveConfidence:
		r.Status = Live
	case !established:
		r.Price, r.Low, r.High, r.Confidence = 0, 0, 0, 0
	}
}
