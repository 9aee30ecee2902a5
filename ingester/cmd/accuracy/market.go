package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"sightglass/ingester/payment"
	"sightglass/ingester/price"
)

// A market is an artificial path of the price with real payments: a file's own, repeated in random order and scaled to
// the current price.
type market struct {
	subject *subject
	course  func(second int) float64                                             // the price at a second, as a ratio of the file's own
	attack  func(second int, own price.USD, random *rand.Rand) []payment.Satoshi // nil: none
}

const (
	perSecond  = 7    // transactions, as on mainnet
	lookEvery  = 5    // seconds between estimates
	eventAfter = 3600 // seconds until the event
	marketLast = 7200 // seconds in total
	marketFrom = 1500 // minimum number of transactions of a file
)

// play passes every estimate to see: its second, the estimate, and its error as a ratio. The error is relative to the
// price that the engine finds in the file as a whole, so that only the tracking counts.
func (m market) play(see func(second int, e price.Estimate, off float64)) {
	random := rand.New(rand.NewPCG(7, 0))
	own := m.ownPrice()
	engine := mustNew(price.Options{})
	start := time.Unix(1_700_000_040, 0) // the first second of a minute
	var order []int
	for second := range marketLast {
		at := start.Add(time.Duration(second) * time.Second)
		factor := m.course(second)
		for range perSecond {
			if len(order) == 0 {
				order = random.Perm(len(m.subject.payments))
			}
			engine.Add(at, scaled(m.subject.payments[order[0]], factor))
			order = order[1:]
		}
		if m.attack != nil {
			for _, a := range m.attack(second, own, random) {
				engine.Add(at, []payment.Satoshi{a})
			}
		}
		if second%lookEvery == 0 {
			e := engine.Estimate(at)
			see(second, e, float64(e.Price/own)/factor-1)
		}
	}
}

func (m market) ownPrice() price.USD {
	engine := mustNew(price.Options{Near: price.USD(m.subject.truth)})
	for _, p := range m.subject.payments {
		engine.Add(m.subject.time, p)
	}
	return engine.Estimate(m.subject.time).Price
}

func mustNew(o price.Options) *price.Engine {
	engine, err := price.New(o)
	if err != nil {
		panic(err) // unreachable: the options are constant
	}
	return engine
}

// scaled returns the payments if a bitcoin cost factor times as much.
func scaled(payments []payment.Satoshi, factor float64) []payment.Satoshi {
	all := make([]payment.Satoshi, len(payments))
	for i, p := range payments {
		all[i] = payment.Satoshi(math.Round(float64(p) / factor))
	}
	return all
}

// printMarkets prints how the engine tracks steps and a drift, and how it withstands attacks.
func printMarkets(w io.Writer, subjects []subject) {
	for i := range subjects {
		s := &subjects[i]
		if s.time.Year() < 2018 || s.truth == 0 || len(s.payments) < marketFrom {
			continue
		}
		for _, to := range []float64{1.03, 0.97, 1.1} {
			printStep(w, s, to)
		}
		printDrift(w, s)
		for _, to := range []float64{0.98, 0.985, 1.015, 1.03, 1.1, 0.5, 2} {
			printAttack(w, s, to)
		}
	}
}

func printStep(w io.Writer, s *subject, to float64) {
	settled, sure, late := 0, 0, 0.0
	market{subject: s, course: func(second int) float64 {
		if second < eventAfter {
			return 1
		}
		return to
	}}.play(func(second int, e price.Estimate, off float64) {
		since := second - eventAfter
		if since < 0 {
			return
		}
		if math.Abs(off) > 0.005 {
			settled = since + lookEvery
		}
		if math.Abs(off) > 0.02 && e.Confidence > 0.9 {
			sure += lookEvery
		}
		if since > 900 {
			late = max(late, math.Abs(off))
		}
	})
	fmt.Fprintf(w, "%-8s step of %+.0f %%: within 0.5 %% after %d s; over 0.9 while more than 2 %% off for %d s; after 15 minutes at most %.2f %% off\n",
		s.name, 100*(to-1), settled, sure, 100*late)
}

func printDrift(w io.Writer, s *subject) {
	worst := 0.0
	market{subject: s, course: func(second int) float64 { return 1 + 0.02*float64(second)/3600 }}.
		play(func(second int, _ price.Estimate, off float64) {
			if second > 1200 {
				worst = max(worst, math.Abs(off))
			}
		})
	fmt.Fprintf(w, "%-8s drift of 2 %% an hour: at most %.2f %% off\n", s.name, 100*worst)
}

// printAttack adds 200 transactions with round amounts at a false price, within one minute that spans two clock
// minutes.
func printAttack(w io.Writer, s *subject, to float64) {
	const begin, last, each = eventAfter + 30, 50, 4
	amounts := []float64{10, 20, 25, 30, 40, 50, 100, 150, 200, 500}
	moved, least := 0.0, 1.0
	market{
		subject: s,
		course:  func(int) float64 { return 1 },
		attack: func(second int, own price.USD, random *rand.Rand) (all []payment.Satoshi) {
			for range each {
				if second >= begin && second < begin+last {
					dollars := amounts[random.IntN(len(amounts))] * (1 + 0.001*random.NormFloat64())
					all = append(all, payment.Satoshi(dollars/(float64(own)*to)*float64(payment.Bitcoin)))
				}
			}
			return all
		},
	}.play(func(second int, e price.Estimate, off float64) {
		if second >= begin {
			moved, least = max(moved, math.Abs(off)), min(least, e.Confidence)
		}
	})
	fmt.Fprintf(w, "%-8s attack at x%g: off by at most %.2f %% from then on, confidence at least %.3f\n", s.name, to, 100*moved, least)
}
