package price

import "math"

// belief is a probability for every price on the grid.
type belief [priceCells]float64

// onePercent is 1 % in cells, to the nearest.
const onePercent = 10

// normalise makes the belief sum to 1.
func (b *belief) normalise() {
	sum := 0.0
	for _, p := range b {
		sum += p
	}
	if !(sum > 0) {
		return
	}
	factor := 1 / sum
	for i := range b {
		b[i] *= factor
	}
}

// near returns the belief in a price within 1 % of a place.
func (b *belief) near(place float64) float64 {
	return min(b.upTo(place+cellsFor(0.01))-b.upTo(place+cellsFor(-0.01)), 1)
}

// upTo returns the belief in a price below a place, which may lie in a cell.
func (b *belief) upTo(place float64) float64 {
	whole := math.Floor(place + 0.5)
	last := min(max(int(whole), 0), priceCells-1)
	sum := 0.0
	for _, p := range b[:last] {
		sum += p
	}
	return sum + b[last]*min(max(place+0.5-whole, 0), 1)
}

// quantile returns the place below which a share of the belief lies.
func (b *belief) quantile(share float64) float64 {
	sum := 0.0
	for i, p := range b {
		if sum+p >= share && p > 0 {
			return float64(i) - 0.5 + (share-sum)/p
		}
		sum += p
	}
	return priceCells - 1
}

// centre returns the mean place within 1 % of a place.
func (b *belief) centre(place float64) float64 {
	middle := int(place + 0.5)
	sum, moment := 0.0, 0.0
	for i := max(middle-onePercent, 0); i <= min(middle+onePercent, priceCells-1); i++ {
		sum += b[i]
		moment += b[i] * float64(i)
	}
	if !(sum > 0) {
		return place
	}
	return moment / sum
}

// spread convolves a belief with a Laplace density of a relative scale: two
// passes, whatever the scale. What would leave the grid is lost.
func spread(dst, src *belief, scale float64) { spreadPart(dst[:], src[:], scale) }

// spreadPart is spread for a part of the grid.
func spreadPart(dst, src []float64, scale float64) {
	decay := math.Exp(-1 / cellsFor(scale))
	norm := (1 - decay) / (1 + decay)
	run := 0.0
	for i, p := range src {
		run = run*decay + p
		dst[i] = run
	}
	run = 0
	for i := len(src) - 1; i >= 0; i-- {
		dst[i] = (dst[i] + run) * norm
		run = (run + src[i]) * decay
	}
}
