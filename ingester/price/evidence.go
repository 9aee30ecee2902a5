package price

import (
	"math"
	"sync"
)

// nat is the unit evidence is kept in: whole numbers, so that what was added
// can be taken back without a trace, in any order.
const nat = 4096

// The background's density is looked up on a logarithmic scale of levels.
const (
	levelsPerNat = 8
	lowestLevel  = -18.0 // ln of the density per cell
	numLevels    = 16 * levelsPerNat
)

// weigher turns outputs into evidence: for an output at an amount the log of
// f(x|P)/b(x) over that of a price whose ladder is not near, for all prices.
type weigher struct {
	ladder ladder
	tables [numLevels][]int32 // by level, all segments one after another
}

// weigherOf returns the weigher of a ladder; nil is the fitted one. Weighers do not change.
func weigherOf(ladder []Rung) *weigher {
	if ladder == nil {
		return fittedWeigher()
	}
	return newWeigher(ladder)
}

// fittedWeigher makes one for all engines: it takes a tenth of a second.
var fittedWeigher = sync.OnceValue(func() *weigher { return newWeigher(rungs) })

func newWeigher(rungs []Rung) *weigher {
	w := &weigher{ladder: newLadder(rungs)}
	for level := range w.tables {
		density := math.Exp(lowestLevel + float64(level)/levelsPerNat)
		var t []int32
		for _, s := range w.ladder.segments {
			for _, d := range s.density {
				ratio := d / (density * (1 - w.ladder.share))
				t = append(t, int32(math.Round(math.Log1p(ratio)*nat)))
			}
		}
		w.tables[level] = t
	}
	return w
}

// evidence is what the outputs of one minute say.
type evidence struct {
	forPrice [priceCells]int32                  // in 1/nat
	piles    [amountCells]uint16                // outputs counted, by cell
	clusters [amountCells / clusterCells]uint16 // the same, by cluster
	outputs  int                                // counted or not
}

// evidencePool keeps evidence not in use, so that a new minute allocates none.
type evidencePool struct{ free []*evidence }

func (p *evidencePool) get() *evidence {
	if n := len(p.free); n > 0 {
		e := p.free[n-1]
		p.free = p.free[:n-1]
		clear(e.forPrice[:])
		e.restart()
		return e
	}
	return new(evidence)
}

func (p *evidencePool) put(e *evidence) {
	if e != nil {
		p.free = append(p.free, e)
	}
}

// counts takes in an output of a cell, and reports whether it counts: not as one of a pile or a cluster.
func (e *evidence) counts(b *background, c uint16) bool {
	e.outputs++
	cluster := &e.clusters[c/clusterCells]
	if e.piles[c] >= pileLimit || float64(*cluster) >= b.clusterLimit(int(c), e.outputs) {
		return false
	}
	e.piles[c]++
	*cluster++
	return true
}

// restart forgets which outputs it has, but not what they say.
func (e *evidence) restart() {
	clear(e.piles[:])
	clear(e.clusters[:])
	e.outputs = 0
}

const none = -1

// add adds the evidence of outputs.
// explained is a price cell whose ladder counts as a part of the background, or none.
func (w *weigher) add(e *evidence, b *background, cells []uint16, explained int) {
	for _, c := range cells {
		if !e.counts(b, c) {
			continue
		}
		density := b.logDensity[int(c)/cellsPerBin]
		if explained != none {
			density = w.ladder.above(density, int(c)-satoshiCells+explained)
		}
		level := int((density-lowestLevel)*levelsPerNat + 0.5)
		w.addTable(&e.forPrice, w.tables[min(max(level, 0), numLevels-1)], int(c), int32(b.trust[c]))
	}
}

// addTable adds a table where the ladder lies for an amount's cell.
func (w *weigher) addTable(sums *[priceCells]int32, table []int32, cell int, trust int32) {
	for _, s := range w.ladder.segments {
		part := table[:len(s.density)]
		table = table[len(s.density):]
		start := s.start + satoshiCells - cell
		if start < 0 {
			if -start >= len(part) {
				continue
			}
			part, start = part[-start:], 0
		}
		if start >= priceCells {
			return
		}
		dst := sums[start:min(start+len(part), priceCells)]
		part = part[:len(dst)]
		if trust == fullTrust {
			for i, v := range part {
				dst[i] += v
			}
			continue
		}
		for i, v := range part {
			dst[i] += v * trust / fullTrust
		}
	}
}
