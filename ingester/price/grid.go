package price

import (
	"math"

	"sightglass/ingester/payment"
)

// The grid: prices, amounts and dollars share one logarithmic scale, so that
// amount cell + price cell = dollar cell + satoshiCells.
const (
	// cellsPerDecade makes a cell 0.1 % wide: finer than the truth is known
	// (0.2 %) and than the spikes are wide.
	cellsPerDecade = 2304

	// priceDecades reach from minPrice to maxPrice.
	priceDecades = 7
	priceCells   = priceDecades * cellsPerDecade

	satoshiCells = 8 * cellsPerDecade // log10 of a bitcoin in satoshi

	// amountCells reach from 1 satoshi beyond payment.Max (10^15.3).
	amountCells = 16 * cellsPerDecade
)

// The range of prices, in USD.
const (
	minPrice = 1.0
	maxPrice = 1e7
)

// amountCell returns the cell of a positive amount, ok false for impossible ones.
func amountCell(a payment.Satoshi) (cell uint16, ok bool) {
	if a <= 0 || a > payment.Max {
		return 0, false
	}
	return uint16(math.Log10(float64(a))*cellsPerDecade + 0.5), true
}

// priceOf returns the price at a place on the grid, which may lie between cells.
func priceOf(cell float64) USD {
	return USD(math.Pow(10, cell/cellsPerDecade))
}

// placeOf is the inverse of priceOf.
func placeOf(p USD) float64 {
	return math.Log10(float64(p)) * cellsPerDecade
}

// cellsFor returns how many cells a relative change makes.
func cellsFor(change float64) float64 {
	return math.Log10(1+change) * cellsPerDecade
}
