// Package points keeps the newest payments and the prices that they imply: the cloud that people see around the
// estimate. Nothing in it is made up; a point is a payment.
package points

import (
	"math"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/payment"
	"sightglass/ingester/price"
	"sightglass/shared/rounds"
	"sightglass/shared/snapshot"
)

const (
	// remembered is how many of the newest payments are kept: enough that snapshot.MaxTransactions of them lie near
	// a round amount at any price (about 6 in 10 do).
	remembered = 4 * snapshot.MaxTransactions

	// rebase is how far, as a ratio, the estimate may move before every payment is asked again what price it
	// implies. In between a point stays what it was, so that clients can be told of new points alone.
	rebase = 1.01
)

// A Cloud is for one goroutine.
type Cloud struct {
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

// New makes an empty cloud.
func New() *Cloud {
	return &Cloud{payments: make([]paid, 0, 2*remembered)}
}

// Add takes in a transaction's payments. They may be older than others that are there.
func (c *Cloud) Add(id chainhash.Hash, at time.Time, amounts []payment.Satoshi) {
	if len(c.payments) >= remembered && at.Before(c.payments[len(c.payments)-remembered].at) {
		return
	}
	i := len(c.payments)
	for i > 0 && at.Before(c.payments[i-1].at) {
		i--
	}
	for _, amount := range amounts {
		if len(c.payments) == cap(c.payments) {
			c.forget(&i)
		}
		p := paid{id: id, at: at, amount: amount}
		p.price, p.round = c.implied(amount)
		c.payments = slices.Insert(c.payments, i, p)
		i++
	}
}

// forget keeps the newest half and moves *i, a place in payments, with it.
func (c *Cloud) forget(i *int) {
	drop := len(c.payments) - remembered
	c.payments = append(c.payments[:0], c.payments[drop:]...)
	*i = max(0, *i-drop)
}

// Remove takes out a transaction's payments, if they are still there.
func (c *Cloud) Remove(id chainhash.Hash) {
	c.payments = slices.DeleteFunc(c.payments, func(p paid) bool { return p.id == id })
}

// Near tells the cloud the estimate; 0 stands for none, and then there are no points.
func (c *Cloud) Near(estimate price.USD) {
	if c.near > 0 && estimate > 0 && math.Abs(math.Log(float64(estimate/c.near))) < math.Log(rebase) {
		return
	}
	if c.near == estimate {
		return
	}
	c.near = estimate
	for i := range c.payments {
		p := &c.payments[i]
		p.price, p.round = c.implied(p.amount)
	}
}

func (c *Cloud) implied(amount payment.Satoshi) (implied, round price.USD) {
	if c.near <= 0 {
		return 0, 0
	}
	implied, round, _ = price.Implied(amount, c.near)
	return implied, round
}

// AppendTo appends the newest points, at most snapshot.MaxTransactions, oldest first.
func (c *Cloud) AppendTo(dst []snapshot.Point) []snapshot.Point {
	for _, p := range c.payments[c.first():] {
		if p.price > 0 {
			dst = append(dst, snapshot.Point{Timestamp: Seconds(p.at), Price: p.price.Cents()})
		}
	}
	return dst
}

// AppendRounds appends the points that AppendTo does, each with its round amount.
func (c *Cloud) AppendRounds(dst []rounds.Point) []rounds.Point {
	for _, p := range c.payments[c.first():] {
		if p.price > 0 {
			dst = append(dst, rounds.Point{Timestamp: Seconds(p.at), Price: p.price.Cents(), Amount: float64(p.round)})
		}
	}
	return dst
}

// first is where the newest points begin, with payments among them that are none.
func (c *Cloud) first() int {
	first := len(c.payments)
	for found := 0; first > 0 && found < snapshot.MaxTransactions; first-- {
		if c.payments[first-1].price > 0 {
			found++
		}
	}
	return first
}

// Seconds is t as the contract writes times: unix seconds with three decimals.
func Seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
