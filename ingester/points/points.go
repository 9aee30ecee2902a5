// Package points keeps the newest payments and the prices that they imply. Every point is a payment.
package points

import (
	"math"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/payment"
	"sightglass/ingester/price"
	"sightglass/shared/contract"
)

const (
	// maxPayments is how many of the newest payments are kept: enough that contract.MaxTransactions of them lie near
	// a round amount at any price (about 6 in 10 do).
	maxPayments = 4 * contract.MaxTransactions

	// rebase is how far, as a ratio, the estimate may move before the implied prices of all payments are computed again. In
	// between a point does not change, so that deltas have new points only.
	rebase = 1.01
)

// Points are for one goroutine.
type Points struct {
	payments []paid // oldest first
	near     price.USD
}

// paid is one payment output.
type paid struct {
	id     chainhash.Hash
	at     time.Time
	amount payment.Satoshi
	price  price.USD // implied, 0 if the payment is near no round amount
	round  price.USD // that amount
}

// New makes empty points.
func New() *Points {
	return &Points{payments: make([]paid, 0, 2*maxPayments)}
}

// Add adds a transaction's payments. They may be older than earlier ones.
func (ps *Points) Add(id chainhash.Hash, at time.Time, amounts []payment.Satoshi) {
	if len(ps.payments) >= maxPayments && at.Before(ps.payments[len(ps.payments)-maxPayments].at) {
		return
	}
	i := len(ps.payments)
	for i > 0 && at.Before(ps.payments[i-1].at) {
		i--
	}
	for _, amount := range amounts {
		if len(ps.payments) == cap(ps.payments) {
			ps.trim(&i)
		}
		p := paid{id: id, at: at, amount: amount}
		p.price, p.round = ps.implied(amount)
		ps.payments = slices.Insert(ps.payments, i, p)
		i++
	}
}

// trim keeps the newest half and moves *i, an index of payments, with it.
func (ps *Points) trim(i *int) {
	drop := len(ps.payments) - maxPayments
	ps.payments = append(ps.payments[:0], ps.payments[drop:]...)
	*i = max(0, *i-drop)
}

// Remove removes a transaction's payments, if they are still kept.
func (ps *Points) Remove(id chainhash.Hash) {
	ps.payments = slices.DeleteFunc(ps.payments, func(p paid) bool { return p.id == id })
}

// SetEstimate sets the price near which points are; 0: none, and then there are no points.
func (ps *Points) SetEstimate(estimate price.USD) {
	if ps.near > 0 && estimate > 0 && math.Abs(math.Log(float64(estimate/ps.near))) < math.Log(rebase) {
		return
	}
	if ps.near == estimate {
		return
	}
	ps.near = estimate
	for i := range ps.payments {
		p := &ps.payments[i]
		p.price, p.round = ps.implied(p.amount)
	}
}

func (ps *Points) implied(amount payment.Satoshi) (implied, round price.USD) {
	if ps.near <= 0 {
		return 0, 0
	}
	implied, round, _ = price.Implied(amount, ps.near)
	return implied, round
}

// AppendTo appends the newest points, at most contract.MaxTransactions, oldest first.
func (ps *Points) AppendTo(dst []contract.Point) []contract.Point {
	for _, p := range ps.payments[ps.first():] {
		if p.price > 0 {
			dst = append(dst, contract.Point{Timestamp: Seconds(p.at), Price: p.price.Cents()})
		}
	}
	return dst
}

// AppendAmounts appends the points that AppendTo appends, each with its round amount.
func (ps *Points) AppendAmounts(dst []contract.PointAmount) []contract.PointAmount {
	for _, p := range ps.payments[ps.first():] {
		if p.price > 0 {
			dst = append(dst, contract.PointAmount{Timestamp: Seconds(p.at), Price: p.price.Cents(), Amount: float64(p.round)})
		}
	}
	return dst
}

// first is where the newest points begin, with payments among them that are none.
func (ps *Points) first() int {
	first := len(ps.payments)
	for found := 0; first > 0 && found < contract.MaxTransactions; first-- {
		if ps.payments[first-1].price > 0 {
			found++
		}
	}
	return first
}

// Seconds is t as the contract writes times: unix seconds with three decimals.
func Seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
