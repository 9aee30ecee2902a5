package price

import (
	"math"
	"slices"
)

// The shape of a spike: density ~ (1 + (x/kernelWidth)^2)^-kernelPower, a core
// of a quarter per cent with heavy tails. Best of widths 0.1 to 0.4 % and powers
// 1.3 to 2 on the blocks of 2018 to 2021 and the mempool, rungs fitted without
// the file tested; the differences between 0.2 and 0.35 % are small.
const (
	kernelWidth = 0.0025
	kernelPower = 1.5
)

// kernelReach is where a spike's tails are cut.
const kernelReach = 0.015

// segment is a stretch of the dollar scale on which the ladder is not zero.
type segment struct {
	start   int       // dollar cell of the first density
	density []float64 // per cell
}

// ladder is the density of round payments over the dollar scale.
type ladder struct {
	segments []segment
	share    float64 // of all outputs

	first int       // the dollar cell of all[0]
	all   []float64 // the densities of every cell
}

// above returns the logarithm of a density with the ladder's own added at a dollar cell.
func (l *ladder) above(density float64, cell int) float64 {
	if i := cell - l.first; i >= 0 && i < len(l.all) && l.all[i] > 0 {
		return math.Log(math.Exp(density) + l.all[i]/(1-l.share))
	}
	return density
}

func newLadder(rungs []Rung) ladder {
	kernel := spike()
	reach := len(kernel) / 2
	cells := make(map[int]float64)
	var l ladder
	for _, r := range rungs {
		l.share += r.Share
		centre := placeOf(r.Dollars)
		first := int(math.Round(centre)) - reach
		for i, k := range kernel {
			cells[first+i] += r.Share * k
		}
	}
	keys := make([]int, 0, len(cells))
	for c := range cells {
		keys = append(keys, c)
	}
	slices.Sort(keys)
	for i, c := range keys {
		if i == 0 || c != keys[i-1]+1 {
			l.segments = append(l.segments, segment{start: c})
		}
		s := &l.segments[len(l.segments)-1]
		s.density = append(s.density, cells[c])
	}
	if len(keys) > 0 {
		l.first = keys[0]
		l.all = make([]float64, keys[len(keys)-1]-l.first+1)
		for c, d := range cells {
			l.all[c-l.first] = d
		}
	}
	return l
}

// spike returns the kernel by cell, its centre in the middle, summing to 1.
func spike() []float64 {
	reach := int(cellsFor(kernelReach))
	width := cellsFor(kernelWidth)
	k := make([]float64, 2*reach+1)
	sum := 0.0
	for i := range k {
		x := float64(i-reach) / width
		k[i] = math.Pow(1+x*x, -kernelPower)
		sum += k[i]
	}
	for i := range k {
		k[i] /= sum
	}
	return k
}

// part returns the part of the evidence for a price that is left given the ladder at another one, as they share rungs:
// what payments at the price show more than the background does where no rungs are shared.
func (l *ladder) part(b *background, price, given int) float64 {
	alone, left := 0.0, 0.0
	for i, d := range l.all {
		amount := l.first + i + satoshiCells - price
		if d == 0 || amount < 0 || amount >= amountCells {
			continue
		}
		density := b.logDensity[amount/cellsPerBin]
		around := (1 - l.share) * math.Exp(density)
		evidence := math.Log1p(d / around)
		alone += d * evidence
		left += (around+d)*math.Log1p(d/((1-l.share)*math.Exp(l.above(density, amount-satoshiCells+given)))) - around*evidence
	}
	if alone == 0 {
		return 1
	}
	return max(left/alone, 0)
}
