package price

import (
	"math"
	"math/rand"
	"testing"
	"time"

	"sightglass/ingester/payment"
)

// start is when made-up streams begin: the first second of a minute.
var start = time.Unix(1_700_000_040, 0)

func newEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// cluster makes up transactions: two amounts each, of a log-normal spread of
// dollars, some of them round as often as the ladder says, a quarter of a per
// cent about.
type cluster struct{ random *rand.Rand }

func newCrowd(seed int64) cluster { return cluster{rand.New(rand.NewSource(seed))} }

func (c cluster) pay(price float64) []payment.Satoshi {
	return []payment.Satoshi{c.amount(price), c.amount(price)}
}

// amount is one of them; dust is for package payment to leave out.
func (c cluster) amount(price float64) payment.Satoshi {
	for {
		if a := c.any(price); a >= payment.MinAmount && a <= payment.Max {
			return a
		}
	}
}

func (c cluster) any(price float64) payment.Satoshi {
	dollars := math.Pow(10, usualPayment(math.Log10(price))+1.2*c.random.NormFloat64())
	pick := c.random.Float64()
	for _, r := range rungs {
		if pick -= r.Share; pick < 0 {
			dollars = float64(r.Dollars) * (1 + 0.002*c.random.NormFloat64())
			break
		}
	}
	return payment.Satoshi(dollars / price * 1e8)
}

// play adds seven transactions a second from a second on, at prices over time,
// and calls see, if any, every five seconds. It returns the second after.
func play(e *Engine, c cluster, from, seconds int, price func(second int) float64, see func(second int, r Estimate)) int {
	for s := from; s < from+seconds; s++ {
		at := start.Add(time.Duration(s) * time.Second)
		for range 7 {
			e.Add(at, c.pay(price(s)))
		}
		if see != nil && s%5 == 0 {
			see(s, e.Estimate(at))
		}
	}
	return from + seconds
}

func always(price float64) func(int) float64 {
	return func(int) float64 { return price }
}

func second(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }

// off is how far a price is from the true one, as a share of it.
func off(p USD, truth float64) float64 { return math.Abs(float64(p)/truth - 1) }
