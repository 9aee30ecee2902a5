package points_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/payment"
	"sightglass/ingester/points"
	"sightglass/ingester/price"
	"sightglass/shared/contract"
)

var start = time.Unix(1_556_771_671, 0)

func id(n int) chainhash.Hash {
	var h chainhash.Hash
	binary.LittleEndian.PutUint64(h[:], uint64(n))
	return h
}

// dollars returns the satoshi of a payment of usd at a price.
func dollars(usd float64, at price.USD) payment.Satoshi {
	return payment.Satoshi(usd/float64(at)*float64(payment.Bitcoin) + 0.5)
}

func prices(c *points.Points) []float64 {
	var all []float64
	for _, p := range c.AppendTo(nil) {
		all = append(all, p.Price)
	}
	return all
}

func TestPoints_NoneWithoutEstimate(t *testing.T) {
	c := points.New()
	c.Add(id(1), start, []payment.Satoshi{dollars(100, 5000)})
	if got := prices(c); len(got) != 0 {
		t.Errorf("got %v without an estimate, want none", got)
	}
	c.SetEstimate(5000)
	if got := prices(c); !slices.Equal(got, []float64{5000}) {
		t.Errorf("got %v, want the payment's 5000 once there is an estimate", got)
	}
}

func TestPoints_PriceImpliedByPayment(t *testing.T) {
	c := points.New()
	c.SetEstimate(5000)
	c.Add(id(1), start.Add(250*time.Millisecond), []payment.Satoshi{dollars(100, 5050), dollars(20, 4900)})
	got := c.AppendTo(nil)
	if len(got) != 2 || got[0].Price != 5050 || got[1].Price != 4900 || got[0].Timestamp != 1_556_771_671.25 {
		t.Errorf("got %+v, want the implied price", got)
	}
}

func TestPoints_HaveRoundAmounts(t *testing.T) {
	c := points.New()
	c.SetEstimate(5000)
	c.Add(id(1), start, []payment.Satoshi{dollars(100, 5050), dollars(2.5, 4900)})
	c.Add(id(2), start.Add(time.Second), []payment.Satoshi{dollars(0.1, 5000), dollars(20, 5000)}) // the first is not a point
	expect := func(want ...float64) {
		t.Helper()
		near, got := c.AppendTo(nil), c.AppendAmounts(nil)
		var amounts []float64
		for i, p := range got {
			amounts = append(amounts, p.Amount)
			if near[i] != (contract.Point{Timestamp: p.Timestamp, Price: p.Price}) {
				t.Errorf("got point %d as %+v, want the snapshot's %+v", i, p, near[i])
			}
		}
		if !slices.Equal(amounts, want) || len(near) != len(got) {
			t.Errorf("got %v for %d points, want %v", amounts, len(near), want)
		}
	}
	expect(100, 2.5, 20)
	c.SetEstimate(10_000) // at this price the payments are worth twice as much
	expect(200, 5, 40)
	c.SetEstimate(0)
	expect()
}

func TestPoints_NewestThousandOldestFirst(t *testing.T) {
	c := points.New()
	c.SetEstimate(5000)
	for i := range 20_000 {
		c.Add(id(i), start.Add(time.Duration(i)*time.Second), []payment.Satoshi{dollars(100, 5000)})
	}
	got := c.AppendTo(nil)
	if len(got) != contract.MaxTransactions {
		t.Fatalf("got %d points, want the maximum", len(got))
	}
	if last := got[len(got)-1].Timestamp; last != points.Seconds(start.Add(19_999*time.Second)) {
		t.Errorf("got the newest point of %v, want the last payment's", last)
	}
	if !slices.IsSortedFunc(got, func(a, b contract.Point) int { return int(a.Timestamp - b.Timestamp) }) {
		t.Error("got another order, want the oldest first")
	}
}

func TestPoints_AcceptOlderPayments(t *testing.T) {
	c := points.New()
	c.SetEstimate(5000)
	c.Add(id(1), start, []payment.Satoshi{dollars(100, 5000)})
	c.Add(id(2), start.Add(-time.Minute), []payment.Satoshi{dollars(100, 5001), dollars(50, 5002)})
	c.Add(id(3), start.Add(-time.Second), []payment.Satoshi{dollars(100, 5003)})
	got := prices(c)
	if len(got) != 4 || got[2] != 5003 || got[3] != 5000 {
		t.Errorf("got %v, want the newest last", got)
	}
}

func TestPoints_RemoveReplacedPayment(t *testing.T) {
	c := points.New()
	c.SetEstimate(5000)
	c.Add(id(1), start, []payment.Satoshi{dollars(100, 5000), dollars(50, 5000)})
	c.Add(id(2), start, []payment.Satoshi{dollars(100, 5010)})
	c.Remove(id(1))
	if got := prices(c); len(got) != 1 {
		t.Errorf("got %v, want the second alone", got)
	}
}

// TestPoints_StableUnderSmallMoves: a small move changes no point, so that deltas have only new ones.
func TestPoints_StableUnderSmallMoves(t *testing.T) {
	c := points.New()
	c.SetEstimate(5000)
	for i := range 1000 {
		c.Add(id(i), start, []payment.Satoshi{payment.Satoshi(100_000 + 7919*i)})
	}
	before := prices(c)
	c.SetEstimate(5020)
	if after := prices(c); !slices.Equal(before, after) {
		t.Error("got changed points after a move of 0.4 %, want the same")
	}
	c.SetEstimate(10_000)
	for _, p := range prices(c) {
		if p < 9000 || p > 11_000 {
			t.Errorf("got a point at %v with the estimate at 10000, want it near the estimate", p)
		}
	}
}
