package price

import "time"

// Status says whether an estimate is fit to be shown.
type Status uint8

// Warming until the confidence is at least one half.
const (
	Warming Status = iota
	Live
)

func (s Status) String() string {
	if s == Live {
		return "live"
	}
	return "warming"
}

// Estimate is what the engine believes.
type Estimate struct {
	Price      USD     // 0 if there is none
	Low, High  USD     // the true price is between them with probability 0.9
	Confidence float64 // probability that the true price is within 1 % of Price
	Status     Status
	Outputs    int // amounts in the window
}

// Estimate returns the price at a time.
func (e *Engine) Estimate(now time.Time) Estimate {
	tick := max(now.Unix()/60, e.window.newest)
	if e.fresh && tick == e.tick {
		return e.last
	}
	e.window.advance(tick, &e.pool)
	e.tick, e.fresh = tick, true
	e.last = Estimate{Outputs: e.window.total}
	if e.window.total == 0 && e.baseAt == minNever && e.options.Near == 0 {
		return e.last
	}
	e.catchUp(tick)
	b := e.window.at(tick)
	e.evaluate(b)
	e.filter.update(&e.open, &e.prior, b.sum)
	e.summarise(&e.last)
	return e.last
}

// catchUp folds all minutes before the open one into the prior.
func (e *Engine) catchUp(open int64) {
	n := e.window.total
	mature := e.background.count
	if (n > mature*3/2 || n < mature/2) && mature < 20000 || e.pending > n/10 {
		e.background.update(e.window.counts, n)
		for i := range e.window.buckets {
			b := &e.window.buckets[i]
			e.pool.put(b.sum)
			b.sum = nil
		}
		if e.baseAt == minNever {
			e.start()
		}
		e.closedAt = minNever
	}
	if e.closedAt == open-1 {
		return
	}
	from := e.closedAt + 1
	if e.closedAt == minNever {
		e.closed = e.base
		from = max(e.window.oldest(), e.baseAt+1)
		for from < open && (e.window.at(from) == nil || len(e.window.at(from).cells) == 0) {
			from++
		}
		e.pending, e.dirty = 0, minNever
	} else {
		e.background.update(e.window.counts, n)
	}
	first := from
	for m := from; m < open; m++ {
		if m > first {
			e.filter.diffuse(&e.prior, &e.closed)
		} else {
			e.prior = e.closed
		}
		b := e.window.at(m)
		if b == nil || len(b.cells) == 0 {
			e.closed = e.prior
			continue
		}
		e.evaluate(b)
		e.filter.update(&e.closed, &e.prior, b.sum)
		if m < open-8 {
			e.pool.put(b.sum)
			b.sum = nil
		}
	}
	if first < open {
		e.filter.diffuse(&e.prior, &e.closed)
	} else {
		e.prior = e.closed
	}
	e.closedAt = open - 1
}

func (e *Engine) evaluate(b *bucket) {
	if b.sum == nil {
		b.sum = e.pool.get()
		e.weigher.add(b.sum, &e.background, b.cells)
	}
}

// summarise reads price, interval and confidence off the belief.
func (e *Engine) summarise(r *Estimate) {
	spread(&e.filter.scratch, &e.open, systematics)
	p := &e.filter.scratch
	p.normalise()
	e.filter.around(&e.filter.within, p)
	best := 0
	for i, w := range e.filter.within {
		if w > e.filter.within[best] {
			best = i
		}
	}
	place := float64(best)
	for range 3 {
		place = centre(p, place)
	}
	r.Price = priceOf(place)
	r.Confidence = massWithin(p, place)
	sum := 0.0
	for i, v := range p {
		if sum < 0.05 && sum+v >= 0.05 {
			r.Low = priceOf(float64(i) - 0.5 + (0.05-sum)/v)
		}
		if sum < 0.95 && sum+v >= 0.95 {
			r.High = priceOf(float64(i) - 0.5 + (0.95-sum)/v)
		}
		sum += v
	}
	if r.Confidence >= 0.5 {
		r.Status = Live
	}
}

func centre(p *belief, place float64) float64 {
	sum, at := 0.0, 0.0
	for i := max(int(place)-within1, 0); i <= min(int(place)+within1, priceCells-1); i++ {
		sum += p[i]
		at += p[i] * float64(i)
	}
	if sum <= 0 {
		return place
	}
	return at / sum
}

func massWithin(p *belief, place float64) float64 {
	sum := 0.0
	for i := max(int(place+0.5)-within1, 0); i <= min(int(place+0.5)+within1, priceCells-1); i++ {
		sum += p[i]
	}
	return min(sum, 1)
}
