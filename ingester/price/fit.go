package price

import (
	"math"

	"sightglass/ingester/payment"
)

// A Sample is one file's payments and the price at which they were made.
type Sample struct {
	Price    USD
	Payments []payment.Satoshi
}

// How the fit draws what it has seen little of towards what is usual.
const (
	fitRounds = 60
	// rungStrength is the weight, in payments on a rung, of the product of a factor for a rung's digits and a smooth
	// one for its size. 12 and 50 do about as well.
	rungStrength = 25.0
	// sizeWidth is how far the factor for size is smoothed, in decades of dollars.
	sizeWidth = 0.5
	// sampleWeight is how many payments a sample counts for: each file the same, so that none outdoes the others.
	sampleWeight = 3000.0
)

// Fit finds how often people pay each of the amounts, by expectation maximisation of the mixture that the engine uses.
func Fit(samples []Sample, amounts []USD) []Rung {
	f := newFit(samples, amounts)
	for range fitRounds {
		f.round()
	}
	return f.rungs
}

type fit struct {
	rungs    []Rung
	usual    []float64 // share of each rung by its digits and its size
	hits     []hit     // outputs that lie near a rung
	exposure float64   // outputs, weighted
}

// hit is an output near rungs.
type hit struct {
	weight float64
	near   []nearRung
}

type nearRung struct {
	rung  int
	ratio float64 // kernel over background: how much likelier the output is if it pays the rung
}

func newFit(samples []Sample, amounts []USD) *fit {
	f := &fit{usual: make([]float64, len(amounts))}
	for i, a := range amounts {
		f.rungs = append(f.rungs, Rung{a, 0.001})
		f.usual[i] = 0.001
	}
	for _, s := range samples {
		f.take(s)
	}
	return f
}

func (f *fit) take(s Sample) {
	counts, piles := make([]int32, amountCells), make([]uint8, amountCells)
	total := 0
	for _, p := range s.Payments {
		if c, ok := amountCell(p); ok {
			counts[c]++
			total++
		}
	}
	b := newBackground()
	b.update(counts, total)
	kernel := spike()
	reach := len(kernel) / 2
	shift := placeOf(s.Price) - satoshiCells
	for _, p := range s.Payments {
		c, ok := amountCell(p)
		if !ok || piles[c] >= pileLimit {
			continue
		}
		piles[c]++
		h := hit{weight: sampleWeight / float64(total) * float64(b.trust[c]) / fullTrust}
		density := math.Exp(b.logDensity[int(c)/cellsPerBin])
		for i, r := range f.rungs {
			if off := int(math.Round(float64(c) + shift - placeOf(r.Dollars))); off >= -reach && off <= reach {
				h.near = append(h.near, nearRung{i, kernel[off+reach] / density})
			}
		}
		f.exposure += h.weight
		if h.near != nil {
			f.hits = append(f.hits, h)
		}
	}
}

// round shares out each output between the rungs near it and the background, and counts what each rung got.
func (f *fit) round() {
	share := 0.0
	for _, r := range f.rungs {
		share += r.Share
	}
	paid := make([]float64, len(f.rungs))
	for _, h := range f.hits {
		sum := 1 - share
		for _, n := range h.near {
			sum += f.rungs[n.rung].Share * n.ratio
		}
		for _, n := range h.near {
			paid[n.rung] += h.weight * f.rungs[n.rung].Share * n.ratio / sum
		}
	}
	f.setUsual(paid)
	for i := range f.rungs {
		f.rungs[i].Share = (paid[i] + rungStrength) / (f.exposure + rungStrength/f.usual[i])
	}
}

// setUsual fits the product of a factor for digits and a smooth one for size.
func (f *fit) setUsual(paid []float64) {
	size := make([]float64, len(paid))
	for i := range size {
		size[i] = 1
	}
	byDigits := map[int]float64{}
	for range 5 {
		seen, possible := map[int]float64{}, map[int]float64{}
		for i, r := range f.rungs {
			seen[digits(r.Dollars)] += paid[i]
			possible[digits(r.Dollars)] += f.exposure * size[i]
		}
		for d := range seen {
			byDigits[d] = (seen[d] + 0.3) / (possible[d] + 0.3/0.0002)
		}
		for i, r := range f.rungs {
			near, possible := 1.0, 1.0
			for j, other := range f.rungs {
				x := math.Log10(float64(other.Dollars/r.Dollars)) / sizeWidth
				w := math.Exp(-x * x / 2)
				near += w * paid[j]
				possible += w * f.exposure * byDigits[digits(other.Dollars)]
			}
			size[i] = near / possible
		}
	}
	for i, r := range f.rungs {
		f.usual[i] = byDigits[digits(r.Dollars)] * size[i]
	}
}

// digits is what a rung has in common with those ten times larger: 25 and 250 are 250.
func digits(d USD) int {
	return int(math.Round(float64(d) / math.Pow(10, math.Floor(math.Log10(float64(d))+1e-9)) * 100))
}

// Typical returns how much a sample's payments are: the mean of log10 dollars.
func (s Sample) Typical() float64 {
	counts := make([]int32, amountCells)
	for _, p := range s.Payments {
		if c, ok := amountCell(p); ok {
			counts[c]++
		}
	}
	b := newBackground()
	b.update(counts, len(s.Payments))
	return b.mean + math.Log10(float64(s.Price)) - satoshiCells/cellsPerDecade
}

// FitTypical fits a line through the samples' typical payments over log10 of the price in dollars: its height at 10,000
// dollars, its slope, and the standard deviation around it.
func FitTypical(samples []Sample) (height, slope, spread float64) {
	var n, sx, sy, sxx, sxy float64
	for _, s := range samples {
		x, y := math.Log10(float64(s.Price))-typicalPaymentAt, s.Typical()
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	slope = (n*sxy - sx*sy) / (n*sxx - sx*sx)
	height = (sy - slope*sx) / n
	for _, s := range samples {
		d := s.Typical() - height - slope*(math.Log10(float64(s.Price))-typicalPaymentAt)
		spread += d * d
	}
	return height, slope, math.Sqrt(spread / (n - 2))
}
