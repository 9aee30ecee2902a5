package price

import (
	"iter"
	"slices"
)

// Posterior gives the prices of the grid, ascending, each with the probability that the last Estimate gave it; they
// sum to 1. It is for looking at the engine, not for every tick.
func (e *Engine) Posterior() iter.Seq2[USD, float64] {
	return func(yield func(USD, float64) bool) {
		for i, p := range e.filter.blurred {
			if !yield(priceOf(float64(i)), p) {
				return
			}
		}
	}
}

// Rungs gives the ladder: the round amounts and how often people pay them, ascending.
func Rungs() []Rung { return slices.Clone(rungs) }
