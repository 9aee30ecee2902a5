package price

import (
	"errors"
	"fmt"
	"math"
	"time"

	"sightglass/ingester/payment"
)

// Options of an Engine. The zero value is a cold start.
type Options struct {
	// Near is a price known to be within 10 % of the true one, in USD.
	// 0 means no hint: the engine starts from nothing.
	Near USD
}

// Engine finds the price. It is for one goroutine at a time.
type Engine struct {
	options    Options
	weigher    *weigher
	pool       evidencePool
	window     window
	background background
	filter     filter

	base   belief // before any evidence
	baseAt int64  // evidence up to this minute is in base already

	closed   belief // with all evidence up to closedAt
	closedAt int64
	prior    belief // closed, spread to the open minute
	dirty    int64  // the oldest minute changed behind closed's back
	pending  int    // how many outputs did

	open  belief // the last result
	last  Estimate
	fresh bool // last is still true
	tick  int64
}

// New returns an engine that has seen nothing.
func New(options Options) (*Engine, error) {
	if n := float64(options.Near); n != 0 && !(n >= minPrice && n <= maxPrice) {
		return nil, fmt.Errorf("price: hint of %v USD is outside of %v to %v USD", n, minPrice, maxPrice)
	}
	e := &Engine{options: options, weigher: newWeigher(), window: newWindow(), baseAt: minNever, closedAt: minNever, dirty: minNever}
	e.background.update(e.window.counts, 0)
	e.start()
	return e, nil
}

const (
	minPrice = 1.0
	maxPrice = 1e7
)

// Add takes in the payment amounts of one transaction seen at a time.
func (e *Engine) Add(at time.Time, amounts []payment.Satoshi) {
	if len(amounts) == 0 {
		return
	}
	minute := at.Unix() / 60
	e.window.advance(minute, &e.pool)
	b := e.window.at(minute)
	if b == nil {
		return
	}
	before := len(b.cells)
	e.window.add(b, amounts)
	if b.sum != nil {
		e.weigher.add(b.sum, &e.background, b.cells[before:])
	}
	e.changed(minute, len(b.cells)-before)
}

// Remove takes back what an earlier Add brought.
func (e *Engine) Remove(at time.Time, amounts []payment.Satoshi) {
	minute := at.Unix() / 60
	b := e.window.at(minute)
	if b == nil {
		return
	}
	if n := e.window.remove(b, amounts); n > 0 {
		e.pool.put(b.sum)
		b.sum = nil
		e.changed(minute, n)
	}
}

func (e *Engine) changed(minute int64, n int) {
	e.fresh = false
	if minute <= e.closedAt && minute > e.baseAt {
		e.pending += n
		if e.dirty == minNever || minute < e.dirty {
			e.dirty = minute
		}
	}
}

// ErrHint is given for a hint that cannot be.
var ErrHint = errors.New("impossible price hint")

// start sets the base belief.
func (e *Engine) start() {
	near := float64(e.options.Near)
	for i := range e.base {
		if near > 0 {
			x := (float64(i) - placeOf(USD(near))) / cellsFor(0.05)
			e.base[i] = math.Exp(-x*x/2) + 1e-6
			continue
		}
		dollars := float64(i)/cellsPerDecade + e.background.mean - 8
		x := (dollars - meanDollars) / meanDollarsSpread
		e.base[i] = math.Exp(-x*x/2) + 1e-3
	}
	e.base.normalise()
}

const (
	meanDollars       = 2.1
	meanDollarsSpread = 0.4
)
