package price

import (
	"math"

	"sightglass/ingester/payment"
)

// Implied returns the price at which an amount is the nearest round number of
// dollars, given a price nearby, and that number; ok is false if that price is
// not within 10 % of near, or there is none.
func Implied(amount payment.Satoshi, near USD) (p USD, round USD, ok bool) {
	if amount <= 0 || amount > payment.Max || !(near > 0) || math.IsInf(float64(near), 0) {
		return 0, 0, false
	}
	bitcoin := float64(amount) / float64(payment.Bitcoin)
	dollars := bitcoin * float64(near)
	best := math.Inf(1)
	for _, r := range rungs {
		ratio := float64(r.Dollars) / dollars
		if off := max(ratio, 1/ratio); off < best {
			best, round = off, r.Dollars
		}
	}
	p = USD(float64(round) / bitcoin)
	if p < near*(1-impliedReach) || p > near*(1+impliedReach) {
		return 0, 0, false
	}
	return p, round, true
}

// impliedReach is how far from the price nearby an implied one may be.
const impliedReach = 0.1
