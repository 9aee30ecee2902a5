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
	// Near is a price in USD known to be within 10 % of the true one at the
	// start. 0 means no hint: the engine starts from transactions alone.
	Near USD

	// Rungs replace the fitted ladder, for fitting and cross-validation. Nil,
	// the default, is the fitted one.
	Rungs []Rung
}

// ErrOptions is the kind of error New returns.
var ErrOptions = errors.New("price: bad options")

// Engine finds the price from payment amounts. It is for one goroutine at a
// time. It takes about 3 MB, and 2 bytes for every amount in the window.
type Engine struct {
	options    Options
	weigher    *weigher
	pool       evidencePool
	window     window
	background background
	timeline   timeline
	filter     filter
	contest    contest

	open  belief // with the open minute's evidence: what last was read from
	last  Estimate
	tick  int64 // the minute last was made for
	fresh bool  // last is still true
}

// New returns an engine that has seen nothing.
func New(options Options) (*Engine, error) {
	if near := float64(options.Near); near != 0 && !(near >= minPrice && near <= maxPrice) {
		return nil, fmt.Errorf("%w: hint of %v USD is not between %v and %v", ErrOptions, near, minPrice, maxPrice)
	}
	if options.Rungs != nil {
		if err := validate(options.Rungs); err != nil {
			return nil, err
		}
	}
	e := &Engine{options: options, weigher: weigherOf(options.Rungs)}
	e.Reset()
	return e, nil
}

// Reset forgets everything, as if the engine were new.
func (e *Engine) Reset() {
	*e = Engine{options: e.options, weigher: e.weigher, window: newWindow(), timeline: newTimeline(), background: newBackground()}
}

func validate(rungs []Rung) error {
	sum := 0.0
	for _, r := range rungs {
		if !(r.Dollars > 0) || math.IsInf(float64(r.Dollars), 0) || !(r.Share >= 0) {
			return fmt.Errorf("%w: rung of %v USD with share %v", ErrOptions, r.Dollars, r.Share)
		}
		sum += r.Share
	}
	if sum <= 0 || sum >= 1 {
		return fmt.Errorf("%w: the rungs' shares sum to %v, which is not between 0 and 1", ErrOptions, sum)
	}
	return nil
}

// Add takes in the payment amounts of one transaction, seen at a time. The
// time may lie in the past; what is older than the window is ignored. The order
// of adding makes no difference beyond what Estimate says. Time moves with the
// newest transaction: at must not lie in the future.
func (e *Engine) Add(at time.Time, amounts []payment.Satoshi) {
	if len(amounts) == 0 {
		return
	}
	minute := minuteOf(at)
	e.window.advance(minute, &e.pool)
	b := e.window.at(minute)
	if b == nil {
		return
	}
	before := len(b.cells)
	e.window.add(b, amounts)
	if b.sum != nil {
		e.weigher.add(b.sum, &e.background, b.cells[before:], none)
	}
	e.changed(minute, len(b.cells)-before)
}

// Remove takes back what an earlier Add with the same arguments brought, if it
// is still in the window.
func (e *Engine) Remove(at time.Time, amounts []payment.Satoshi) {
	minute := minuteOf(at)
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

// MeanAge is how old the amounts in the window are on average, to the minute; 0 if there are none. That many minutes ago
// is when the market was that the price is mostly about.
func (e *Engine) MeanAge(now time.Time) time.Duration {
	return time.Duration(e.window.meanAge(minuteOf(now)) * float64(time.Minute))
}

// changed notes that outputs were added to or removed from a minute.
func (e *Engine) changed(minute int64, n int) {
	e.fresh = false
	if minute <= e.timeline.closedAt && minute > e.timeline.baseAt {
		e.timeline.pending += n
	}
}

func minuteOf(t time.Time) int64 {
	seconds := t.Unix()
	minute := seconds / 60
	if seconds%60 < 0 {
		minute--
	}
	return minute
}
