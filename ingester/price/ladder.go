package price

import (
	"math"
	"slices"
)

// rung is a round dollar amount and how many of all usable outputs pay it.
type rung struct {
	dollars USD
	share   float64
}

// rungs of the ladder.
var rungs = []rung{
	{1, .0016}, {2, .0007}, {3, .0005}, {5, .0018}, {10, .0034}, {15, .0010}, {20, .0027}, {25, .0021},
	{30, .0017}, {35, .0005}, {40, .0017}, {45, .0010}, {50, .0048}, {60, .0013}, {70, .0018}, {75, .0005},
	{80, .0009}, {90, .0004}, {100, .0060}, {120, .0005}, {125, .0003}, {150, .0016}, {200, .0032}, {250, .0006},
	{300, .0012}, {350, .0003}, {400, .0011}, {500, .0026}, {600, .0005}, {700, .0004}, {800, .0004}, {900, .0003},
	{1000, .0025}, {1500, .0005}, {2000, .0008}, {2500, .0003}, {3000, .0009}, {4000, .0003}, {5000, .0007}, {10000, .0006},
}

// kernelWidth is the half width of a spike.
const kernelWidth = 0.002

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
}

func newLadder() ladder {
	kernel := spike()
	reach := len(kernel) / 2
	cells := make(map[int]float64)
	var l ladder
	for _, r := range rungs {
		l.share += r.share
		centre := placeOf(r.dollars)
		first := int(math.Round(centre)) - reach
		for i, k := range kernel {
			cells[first+i] += r.share * k
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
		k[i] = 1 / ((1 + x*x) * (1 + x*x))
		sum += k[i]
	}
	for i := range k {
		k[i] /= sum
	}
	return k
}
