// Package price finds the dollar price of a bitcoin in payment amounts alone.
//
// People pay in round dollar amounts. At price P a payment of D dollars is an
// output of D/P bitcoin, so on a logarithmic scale the amounts show a ladder of
// spikes that shifts as a whole when the price moves. The Engine keeps, for
// every price on a grid, how well the amounts seen fit the ladder at that
// price, and filters it over time: what comes out is a probability for every
// price.
//
// The package is pure: it has no clock, does no I/O and starts no goroutines.
// An Engine is for one goroutine at a time.
package price

// USD is an amount of dollars; as a price it is dollars for one bitcoin.
type USD float64
