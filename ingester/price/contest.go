package price

import "math"

const (
	// A second ladder is looked for in the last contestOutputs outputs: fewer have chance patterns as strong as a ladder. That
	// is never less than contestMinutes, nor more than the window.
	contestOutputs = 4500
	contestMinutes = 15

	// totalMinutes is over how many minutes the evidence of prices that share rungs is compared.
	totalMinutes = 12 * 60

	// A second ladder is as likely the honest one if its strength is this share of the usual one. In 30 blocks of 2018 to
	// 2025 the strongest chance pattern within 30 % of the price has 0.14 to 0.5, but for two of hours in which the market
	// ran (0.72, 0.75: the ladders are there), and the strongest anywhere 0.25 to 0.8: many prices share rungs.
	nearShare = 0.6
	farShare  = 0.95
	nearReach = 260 // cells: 30 %

	// contestPower makes chance patterns count for little: half the strength is 64 times less likely.
	contestPower = 6

	// mostShare keeps the established price the likelier one or nearly: it was there first.
	mostShare = 0.64

	// baselineReach is over how many cells on either side evidence is averaged for what there is without a ladder.
	baselineReach = 256

	// contestedShare is the belief in the second ladder from which on the price is Contested.
	contestedShare = 0.3
)

// contest looks for a second ladder beside the one of the established price.
type contest struct {
	total [priceCells]float64 // evidence of the last hours
	given [priceCells]float64 // of the last minutes, given the ladder at the price
	ours  float64             // excess evidence for the price, of the last minutes
	mass  float64             // how many minutes these are

	share float64 // the belief in the second ladder
	at    int     // its cell

	sums [priceCells + 1]float64 // scratch
}

// add takes account of a minute's evidence beside the price in a cell.
func (c *contest) add(e *Engine, b *bucket, price int) {
	given := e.pool.get()
	e.weigher.add(given, &e.background, b.cells, price)
	keepTotal := math.Exp(-1.0 / totalMinutes)
	keep := math.Exp(-min(max(float64(b.sum.outputs)/contestOutputs, 1.0/float64(windowMinutes)), 1.0/contestMinutes))
	for i := range c.total {
		c.total[i] = c.total[i]*keepTotal + float64(b.sum.forPrice[i])/nat
		c.given[i] = c.given[i]*keep + float64(given.forPrice[i])/nat
	}
	e.pool.put(given)
	c.ours, c.mass = c.ours*keep+b.sum.excess(price), c.mass*keep+1
	c.share = 0
	if s := &e.timeline.strength; s.established() {
		c.find(price, min(c.ours, s.most()*c.mass))
	}
}

// find looks for the strongest ladder further off a price than nearCells, and sets how likely it is the honest one. A
// price's own strength is no more than usual: false payments add to one of both.
func (c *contest) find(price int, ours float64) {
	for i, v := range c.given {
		c.sums[i+1] = c.sums[i] + v
	}
	strongest := 0.0
	for i := 2; i < priceCells-2; i++ {
		if i > price-nearCells && i < price+nearCells {
			continue
		}
		from, to := max(i-baselineReach, 0), min(i+baselineReach, priceCells)
		x := (c.sums[i+3]-c.sums[i-2])/5 - (c.sums[to]-c.sums[from])/float64(to-from)
		if i > price-nearReach && i < price+nearReach {
			x /= nearShare
		} else {
			x /= farShare
		}
		if x > strongest {
			strongest, c.at = x, i
		}
	}
	if strongest > 0 {
		odds := math.Pow(strongest/max(ours, 1e-9), contestPower)
		c.share = min(1/(1+1/odds), mostShare)
	}
}

// leads reports whether no price further off than nearCells has had more evidence in the last hours.
func (c *contest) leads(price int) bool {
	ours := 0.0
	for _, v := range c.total[max(price-3, 0):min(price+4, priceCells)] {
		ours = max(ours, v)
	}
	for i, v := range c.total {
		if v > ours && (i < price-nearCells || i > price+nearCells) {
			return false
		}
	}
	return true
}

// The belief that is left to prices around the established one while its ladder is going: half of it at wanderNats of
// evidence for that, over 15 % on either side, as far as markets move in an hour.
const (
	wanderNats  = 4.5
	wanderReach = 150 // cells
)

// doubt moves belief from the established price, at a place, to the second ladder, and around if its own is going.
func (e *Engine) doubt(p *belief, place float64) {
	share := e.contest.share
	gone := 1/(1+math.Exp(wanderNats-e.timeline.strength.gone)) - 1/(1+math.Exp(wanderNats))
	for i := range p {
		p[i] *= (1 - share) * (1 - gone)
	}
	const spike = 5 // cells
	p.spreadOver(e.contest.at, spike, share*(1-gone))
	p.spreadOver(int(place+0.5), wanderReach, gone)
}

// spreadOver adds belief evenly over the cells within reach of a place.
func (b *belief) spreadOver(at, reach int, share float64) {
	from, to := max(at-reach, 0), min(at+reach+1, priceCells)
	for i := from; i < to; i++ {
		b[i] += share / float64(to-from)
	}
}
