package price

import "math"

// belief is a probability for every price on the grid.
type belief [priceCells]float64

// Between two minutes the price moves: mostly a little, seldom far.
var moves = []struct{ weight, scale float64 }{
	{0.03, 0.004},
	{0.001, 0.03},
}

const (
	calmScale   = 0.0006
	anywhere    = 1e-6
	temper      = 0.6
	coldCap     = 20.0
	settledCap  = 5.0
	systematics = 0.0012
)

func (b *belief) normalise() {
	sum := 0.0
	for _, p := range b {
		sum += p
	}
	if sum > 0 {
		for i := range b {
			b[i] /= sum
		}
	}
}

// diffuse spreads a belief by what the market may do in a minute.
func (f *filter) diffuse(dst, src *belief) {
	calm := 1 - anywhere
	for _, m := range moves {
		calm -= m.weight
	}
	spread(dst, src, calmScale)
	for i := range dst {
		dst[i] = dst[i]*calm + anywhere/priceCells
	}
	for _, m := range moves {
		spread(&f.scratch, src, m.scale)
		for i, p := range f.scratch {
			dst[i] += m.weight * p
		}
	}
}

// spread convolves with a Laplace density of the given relative scale.
func spread(dst, src *belief, scale float64) {
	decay := math.Exp(-1 / cellsFor(scale))
	norm := (1 - decay) / (1 + decay)
	run := 0.0
	for i, p := range src {
		run = run*decay + p
		dst[i] = run
	}
	run = 0
	for i := priceCells - 1; i >= 0; i-- {
		dst[i] = (dst[i] + run) * norm
		run = (run + src[i]) * decay
	}
}

// filter does the sums, in its own scratch space.
type filter struct {
	scratch belief
	within  belief
}

// within1 is one per cent in cells.
const within1 = 10

// update multiplies a belief by what one minute's evidence says of it. One
// minute may only say so much: no price gains more over the belief's present
// one than a cap, which is low where the belief is settled.
func (f *filter) update(dst, prior *belief, e *evidence) {
	f.around(&f.scratch, prior)
	settled, present := 0.0, 0.0
	for i, v := range e.forPrice {
		settled = max(settled, f.scratch[i])
		present += prior[i] * float64(v)
	}
	best := int32(0)
	for _, v := range e.forPrice {
		best = max(best, v)
	}
	most := min(present*(temper/nat)+settledCap/(settled*settled), float64(best)*(temper/nat))
	for i, v := range e.forPrice {
		dst[i] = prior[i] * (math.Exp(min(float64(v)*(temper/nat)-most, 0)) + 2e-9)
	}
	dst.normalise()
}

// around gives for every price the belief in a price within 1 % of it.
func (f *filter) around(dst, b *belief) {
	run := 0.0
	for i := range within1 {
		run += b[i]
	}
	for i := range b {
		if j := i + within1; j < priceCells {
			run += b[j]
		}
		dst[i] = run
		if j := i - within1; j >= 0 {
			run -= b[j]
		}
	}
}
