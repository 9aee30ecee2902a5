package price

import "math"

// timeline is the belief as it went through time: from a base, minute by
// minute, to the minute now open.
type timeline struct {
	base         belief // as of baseAt: evidence up to there is never asked for again
	baseStrength strength
	baseAt       int64 // never: before all evidence

	middle         belief // the next base
	middleStrength strength
	middleAt       int64 // before there is one: where the count starts
	hasMiddle      bool

	closed   belief   // with all evidence up to closedAt
	closedAt int64    // never: to be recomputed from base
	strength strength // as of closedAt

	prior belief // closed, spread to the open minute

	pending int // outputs that changed in closed minutes since they were closed
}

// baseMinutes is how often the base moves on, so that it is always between one
// and two of them old: within the window, or there would be no evidence to
// recompute the belief from, and old enough for a warm start to be all new.
const baseMinutes = windowMinutes / 2

// What changes in minutes already closed (a warm start fills them, a
// replacement takes some back) makes all minutes since the base count again, if
// it is more than a share of the window: a tenth at once, a hundredth when a
// minute closes. Less cannot be seen in the price.
const (
	pendingAtOnce  = 10
	pendingAtClose = 100
)

// matureOutputs is when the background is known so well that evidence weighed
// by an earlier one is left as it is: half a per cent of a decade's outputs.
const matureOutputs = 20_000

func newTimeline() timeline {
	return timeline{baseAt: never, middleAt: never, closedAt: never}
}

// catchUp brings the belief up to the open minute.
func (e *Engine) catchUp(open int64) {
	t := &e.timeline
	closing := t.closedAt != open-1
	switch {
	case e.isStale(closing):
		e.reweigh()
	case closing:
		e.background.update(e.window.counts, e.window.total)
	default:
		return
	}
	from := t.closedAt + 1
	if t.closedAt == never {
		from = e.rewind(open)
	}
	for m := max(from, open-windowMinutes); m < open; m++ {
		e.close(m)
	}
	t.closedAt = open - 1
}

// isStale reports whether the belief has to be recomputed from its base.
func (e *Engine) isStale(closing bool) bool {
	n, known, pending := e.window.total, e.background.count, e.timeline.pending
	switch {
	case known < matureOutputs && (n > known+known/2 || n < known/2):
		return true // the background has grown up since
	case closing:
		return pending > n/pendingAtClose
	}
	return pending > n/pendingAtOnce
}

// reweigh forgets all evidence worked out so far.
func (e *Engine) reweigh() {
	e.background.update(e.window.counts, e.window.total)
	for i := range e.window.buckets {
		e.release(&e.window.buckets[i])
	}
	e.timeline.closedAt, e.timeline.pending = never, 0
}

// rewind puts the belief back to its base and returns the minute after it.
func (e *Engine) rewind(open int64) (from int64) {
	t := &e.timeline
	t.middleAt, t.hasMiddle = t.baseAt, false
	t.strength = t.baseStrength
	e.contest = contest{}
	if t.baseAt != never {
		t.closed = t.base
		e.filter.diffuse(&t.prior, &t.base)
		return t.baseAt + 1
	}
	if near := float64(e.options.Near); near > 0 {
		t.base.beHinted(near)
	} else {
		t.base.beCold(e.background.mean)
	}
	t.prior = t.base
	from = e.window.oldest()
	for from < open && e.window.isEmpty(from) {
		from++
	}
	t.middleAt = from
	return from
}

// close takes in a minute's evidence and moves on to the next.
func (e *Engine) close(m int64) {
	t := &e.timeline
	if e.window.isEmpty(m) {
		t.closed = t.prior
	} else {
		b := e.window.at(m)
		e.weigh(b)
		e.filter.update(&t.closed, &t.prior, b.sum, e.holdClosed(b))
	}
	if b := e.window.at(m); b != nil {
		e.release(b)
	}
	if m-t.middleAt >= baseMinutes {
		if t.hasMiddle {
			t.base, t.baseAt, t.baseStrength = t.middle, t.middleAt, t.middleStrength
		}
		t.middle, t.middleStrength, t.middleAt, t.hasMiddle = t.closed, t.strength, m, true
	}
	e.filter.diffuse(&t.prior, &t.closed)
}

// weigh makes sure a minute's evidence is there.
func (e *Engine) weigh(b *bucket) {
	if b.sum == nil {
		b.sum = e.pool.get()
		e.weigher.add(b.sum, &e.background, b.cells, none)
	}
}

func (e *Engine) release(b *bucket) {
	e.pool.put(b.sum)
	b.sum = nil
}

// beHinted believes in a price near another: a bell of 5 %, so that 10 % off
// costs no more than the evidence of a dozen payments, over next to nothing
// anywhere else. The hint is the operator's word, and a ladder read off by a
// factor can have any amount of evidence; a wrong hint is left behind through
// filter.anywhere, in half an hour.
func (b *belief) beHinted(near float64) {
	centre, width := placeOf(USD(near)), cellsFor(0.05)
	for i := range b {
		x := (float64(i) - centre) / width
		b[i] = math.Exp(-x*x/2) + 1e-14
	}
	b.normalise()
}

// How much a payment is, on the mean of log10 dollars: what a cold start knows about the price. It grows with the
// price, as those who pay have grown richer by it: a line through the 22 files of 2014 to 2024 with over 300
// transactions, as `accuracy --fit` prints it, has 2.11 at 10,000 dollars, a slope of 0.49 and a standard deviation of
// 0.23 around it; 0.25 with a little for times unseen.
const (
	typicalPayment       = 2.11
	typicalPaymentAt     = 4.0 // log10 of a price in dollars
	typicalPaymentSlope  = 0.49
	typicalPaymentSpread = 0.25
)

// beCold believes in what makes amounts with a mean log10 of satoshi payments
// of the usual size, and a thousandth as much in any other price.
func (b *belief) beCold(mean float64) {
	for i := range b {
		price := float64(i) / cellsPerDecade
		dollars := mean + price - satoshiCells/cellsPerDecade
		x := (dollars - usualPayment(price)) / typicalPaymentSpread
		b[i] = math.Exp(-x*x/2) + 1e-3
	}
	b.normalise()
}

// usualPayment returns the mean log10 of dollars paid at a log10 of price.
func usualPayment(price float64) float64 {
	return typicalPayment + typicalPaymentSlope*(price-typicalPaymentAt)
}
