package price

import (
	"math"
	"slices"
)

// A market that moves takes its ladder with it: the old rungs empty. False payments at another price leave the honest
// ladder where it is, as strong as usual. So an established price gives way to one further off only as it is shown that
// its own ladder has gone, however strong the other one is. All times are in minutes, all evidence is in nats.

const (
	// nearCells is how far off a price is still on the same ladder: 1 %. Within that, the hold does not apply.
	nearCells = 10

	// gateNats is what it takes to believe that the ladder has gone: the chance that the noise of honest minutes adds up to
	// that is e^-7 each time it starts to. With 8 no attack gets further, and a step in the weakest stream (block 866342)
	// takes twice as long to be found.
	gateNats = 7

	// goneShare is the share of the usual evidence below which a minute counts for "it has gone". For Gaussian noise the
	// middle between what is left without the ladder and the whole is best. A quarter is left: other ladders and
	// habits in the same amounts have that much.
	goneShare = 0.625

	// smoothMinutes is over how much the strength is averaged before the usual one follows it: down within fallMinutes,
	// as hours differ, up within riseMinutes and never by more than its double, as false payments at the price itself make
	// the ladder stronger. A minute's share of its outputs is steadier than its count, and rises in twice that.
	smoothMinutes = 30
	fallMinutes   = 2 * 60
	riseMinutes   = 12 * 60

	// A price is established after learnMinutes, for which the ladder's strength has to be known. For as long as another
	// price with the same rungs (its double, say) has had more evidence in all, and until provenMinutes, it may still
	// have been mistaken for that one from the start.
	learnMinutes  = 20
	provenMinutes = 40

	// suspectNats is the evidence for "it has gone" from which on the strength is learned from one minute in four only, as
	// it is perhaps not the ladder's any more. Beyond gateNats the price is free to move; if it does not, what there is is
	// the new usual strength.
	suspectNats = 3

	// leastVariance is the least that the excess varies, over its mean: 3 to 4 on the mempool at 18 to 300 transactions a
	// minute. Few minutes may show less.
	leastVariance = 2.5

	// busyFactor is how much stronger than usual the honest ladder may be. With 1, a sudden threefold strength (streams of
	// different blocks, one after the other) is contested for an hour by chance patterns; with 2, a false ladder of thirty
	// times the honest payments that walks away is believed after an hour instead of two.
	busyFactor = 1.4

	// The ladder's place follows the price, anchorMinutes behind. When the ladder goes, the price nearby wanders to
	// what noise there is; its place does not. A jump beyond anchorReach (cells) is a new place.
	anchorMinutes = 5
	anchorReach   = 25

	// sharedPart is the part of the evidence for a price that may be left, given another one's ladder, if the two are easily
	// mistaken for each other: 0.34 for a price and its tenfold, 0.4 for its double, 0.8 for nine tenths of it.
	sharedPart = 0.6
)

// strength is how strong the ladder at the established price usually is, and whether it has gone. Its fields are part
// of the state.
type strength struct {
	minutes float64 // that it was learned from
	proven  float64 // 1 once no other price had more evidence after provenMinutes
	anchor  float64 // the ladder's place
	gone    float64 // evidence that it has gone: a cumulative sum that never falls below 0

	excess, outputs    average // of a minute, over smoothMinutes
	squares            average // of the excess, over fallMinutes
	byMinute, byOutput float64 // the usual excess
}

// fields returns the numbers of a state, in their order.
func (s *strength) fields() []*float64 {
	return []*float64{
		&s.minutes, &s.proven, &s.anchor, &s.gone,
		&s.excess.sum, &s.excess.weight, &s.outputs.sum, &s.outputs.weight, &s.squares.sum, &s.squares.weight,
		&s.byMinute, &s.byOutput,
	}
}

// average is an exponentially weighted mean.
type average struct{ sum, weight float64 }

func (a *average) add(v, minutes float64) {
	keep := math.Exp(-1 / minutes)
	a.sum, a.weight = a.sum*keep+v, a.weight*keep+1
}

func (a *average) mean() float64 { return a.sum / max(a.weight, 1e-9) }

// established reports whether the ladder's strength is known, so that the price is held.
func (s *strength) established() bool { return s.minutes >= learnMinutes }

func (s *strength) learn(excess float64, outputs int) {
	s.minutes++
	s.excess.add(excess, smoothMinutes)
	s.outputs.add(float64(outputs), smoothMinutes)
	s.squares.add(excess*excess, fallMinutes)
	s.follow(&s.byMinute, s.excess.mean(), riseMinutes)
	s.follow(&s.byOutput, s.excess.mean()/max(s.outputs.mean(), 1), 2*riseMinutes)
}

func (s *strength) follow(usual *float64, now, rise float64) {
	memory := min(fallMinutes, s.minutes)
	if now > *usual && s.minutes > provenMinutes {
		now, memory = min(now, 2**usual), min(rise, s.minutes)
	}
	*usual += (now - *usual) / memory
}

// most returns the most evidence of a minute that counts as the honest ladder's: the usual one, or up to busyFactor times
// that while there are more outputs than usual, as in the morning.
func (s *strength) most() float64 {
	return max(min(max(s.byMinute, s.byOutput*s.outputs.mean()), busyFactor*s.byMinute), 0)
}

// goneAfter returns the evidence that the ladder has gone after a minute with an excess of evidence at its place, given
// a ladder that leaves a part of it. Usual is what the minute should have: by the minute, as false payments add outputs,
// or by the output, as quiet minutes have less of both. A nat counts by the mean over the variance.
func (s *strength) goneAfter(excess float64, outputs int, part float64) float64 {
	mean := s.excess.mean()
	variance := max(s.squares.mean()-mean*mean, leastVariance*mean, 1e-3)
	weight := max(2*(1-goneShare)*s.byMinute/variance, 0)
	usual := max(min(s.byMinute, s.byOutput*float64(outputs)), 0)
	return min(max(s.gone+weight*(goneShare*part*usual-excess), 0), 2*gateNats)
}

// hold is how far a minute may move a belief.
type hold struct {
	established bool
	at          int     // the cell of the price
	settled     float64 // the belief in it
	limit       float64 // the most belief in prices further off than nearCells, over that in the nearer ones
}

func (e *Engine) newHold(prior *belief) hold {
	return hold{
		established: e.timeline.strength.established(),
		at:          int(e.filter.peak(prior) + 0.5), settled: prior.settled(),
		limit: math.Inf(1),
	}
}

// holdOpen returns how far the open minute may move the belief.
func (e *Engine) holdOpen(b *bucket) hold {
	h, s := e.newHold(&e.timeline.prior), &e.timeline.strength
	if h.established {
		h.limit = math.Exp(s.goneAfter(b.sum.excess(int(s.anchor+0.5)), b.sum.outputs, 1) - gateNats)
	}
	return h
}

// holdClosed returns how far a minute that is over may move the belief, and learns from the minute.
func (e *Engine) holdClosed(b *bucket) hold {
	h, s, sum := e.newHold(&e.timeline.prior), &e.timeline.strength, b.sum
	if place := e.filter.peak(&e.timeline.prior); s.minutes == 0 || math.Abs(place-s.anchor) > anchorReach {
		s.anchor = place
	} else {
		s.anchor += (place - s.anchor) / anchorMinutes
	}
	e.contest.add(e, b, h.at)
	if h.established {
		// The ladder has to be there given the strongest other one: prices share rungs.
		other := e.strongest(sum, h.at)
		anchor := int(s.anchor + 0.5)
		part := e.weigher.ladder.part(&e.background, anchor, other)
		given := e.pool.get()
		e.weigher.add(given, &e.background, b.cells, other)
		s.gone = s.goneAfter(given.excess(anchor), sum.outputs, part)
		e.pool.put(given)
		h.limit = math.Exp(s.gone - gateNats)
		switch {
		case s.proven == 1:
		case part < sharedPart && e.contest.total[other] > e.contest.total[anchor]:
			h.limit = math.Inf(1)
		case s.minutes > provenMinutes && e.contest.leads(h.at):
			s.proven = 1
		}
	}
	if h.settled > 0.5 && (s.gone < suspectNats || s.gone >= gateNats || b.minute%4 == 0) {
		s.learn(sum.excess(h.at), sum.outputs)
	}
	return h
}

// strongest returns the cell with the most belief further off than nearCells.
func (e *Engine) strongest(sum *evidence, at int) (other int) {
	best := -1.0
	for i, v := range sum.forPrice {
		if i >= at-nearCells && i <= at+nearCells {
			continue
		}
		if p := e.timeline.prior[i] * math.Exp(float64(v)*(temper/nat)); p > best {
			other, best = i, p
		}
	}
	return other
}

// excess returns how much more evidence there is at a price than around it, without a ladder: than in the median of
// twelve stretches up to 30 % off, so that a second ladder among them makes no difference.
func (e *evidence) excess(at int) float64 {
	const from, stretch, stretches = 30, 40, 12
	around := make([]float64, 0, stretches)
	for k := range stretches {
		start := at + from + k/2*stretch
		if k%2 == 1 {
			start = at - from - (k/2+1)*stretch
		}
		if start >= 0 && start+stretch <= priceCells {
			around = append(around, mean(e.forPrice[start:start+stretch]))
		}
	}
	slices.Sort(around)
	const spike = 2 // cells on either side that have nearly the crest's evidence
	return (mean(e.forPrice[max(at-spike, 0):min(at+spike+1, priceCells)]) - around[len(around)/2]) / nat
}

func mean(values []int32) float64 {
	sum := 0
	for _, v := range values {
		sum += int(v)
	}
	return float64(sum) / float64(max(len(values), 1))
}

// isSane reports whether a state's numbers could be a strength.
func (s *strength) isSane() bool {
	for _, f := range s.fields() {
		if math.IsNaN(*f) || math.Abs(*f) > 1e9 {
			return false
		}
	}
	return s.minutes >= 0 && s.gone >= 0 && s.gone <= 2*gateNats && s.anchor >= 0 && s.anchor < priceCells
}
