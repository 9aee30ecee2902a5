// Package points keeps the newest payments with the prices that they imply.
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
	// maxPayments is the number of newest payments kept: enough that contract.MaxTransactions of them are near a round
	// amount at any price (about 6 in 10 are).
	maxPayments = 4 * contract.MaxTransactions

	// rebase is how far the estimate may move, as a ratio, before the implied prices of all payments are computed again.
	// Until then points do not change, so that deltas contain only new points.
	rebase = 1.01
)

// Points holds the newest payments and their implied prices. It is for one goroutine.
type Points struct {
	payments []paid // oldest first
	near     price.USD
}

// paid is one payment output.
type paid struct {
	id     chainhash.Hash
	at     time.Time
	amount payment.Satoshi
	price  price.USD // implied; 0 if the payment is not near a round amount
	round  price.USD // the round amount
}

// New returns empty Points.
func New() *Points {
	return &Points{payments: make([]paid, 0, 2*maxPayments)}
}

// Add adds a transaction's payments. They may be older than those added before.
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

// trim keeps the newest half, and updates *i, an index into payments.
func (ps *Points) trim(i *int) {
	drop := len(ps.payments) - maxPayments
	ps.payments = append(ps.payments[:0], ps.payments[drop:]...)
	*i = max(0, *i-drop)
}

// Remove removes a transaction's payments, if they are kept.
func (ps *Points) Remove(id chainhash.Hash) {
	ps.payments = slices.DeleteFunc(ps.payments, func(p paid) bool { return p.id == id })
}

// SetEstimate sets the price on which points depend. With 0 there are no points.
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

// AppendAmounts appends the same points as AppendTo, each with its round amount.
func (ps *Points) AppendAmounts(dst []contract.PointAmount) []contract.PointAmount {
	for _, p := range ps.payments[ps.first():] {
		if p.price > 0 {
			dst = append(dst, contract.PointAmount{Timestamp: Seconds(p.at), Price: p.price.Cents(), Amount: float64(p.round)})
		}
	}
	return dst
}

// first returns the index of the oldest payment among the newest points. Payments after it need not be points.
func (ps *Points) first() int {
	first := len(ps.payments)
	for found := 0; first > 0 && found < contract.MaxTransactions; first-- {
		if ps.payments[first-1].price > 0 {
			found++
		}
	}
	return first
}

// Seconds returns t as in the contract: unix seconds with three decimals.
func Seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
