package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sightglass/ingester/payment"
	"sightglass/ingester/price"
)

// An attack is false payments beside honest ones: transactions that pay round dollar amounts at a false price, with
// amounts drawn from the ladder's own shares. Honest payments are a file's own, in random order.
type attack struct {
	name    string
	subject *subject
	seed    uint64

	honest  float64 // honest transactions a second
	rate    float64 // false transactions a second
	outputs int     // of each
	factor  float64 // the false price over the true one
	walk    float64 // instead of factor: how much it moves away in an hour, as a ratio
	burst   bool    // all of ten minutes' transactions come in one of them
	flood   bool    // instead of payments, inscription commits: 546 satoshi and a size times a fee rate

	begin, last int // seconds from the start
	restart     int // the second at which the engine is saved and restored; 0: never
}

// outcome is what an attack reached. Times are in seconds, from its beginning.
type outcome struct {
	sureAt        int     // until the price was over 2 % off at a confidence over 0.9; -1: never
	sure2, sure5  int     // how long it was over 2 and over 5 % off at a confidence over 0.9
	wrong         int     // how long it was over 2 % off
	contested     int     // how long the status said so
	least, surest float64 // the least confidence; the highest while over 2 % off
	transactions  int     // false ones until sureAt, or in all
	fees, atOnce  float64 // dollars at 1 sat/vB until then; dollars paid within any ten minutes
}

// The virtual size of a transaction with a key-path Taproot input, without and for each output, by BIP 141.
const (
	sizeBase   = 10.5 + 57.5
	sizeOutput = 43
)

const attackLook = 10 // seconds between looks at the estimate

func (a *attack) run() (o outcome) {
	random := rand.New(rand.NewPCG(a.seed, 11))
	own := market{subject: a.subject}.ownPrice()
	engine := mustNew(price.Options{})
	start := time.Unix(1_700_000_040, 0)
	var order []int
	honest, lies := 0.0, 0.0
	o.sureAt, o.least = -1, 1
	var paid []float64 // dollars, by second
	for second := range a.begin + a.last {
		at := start.Add(time.Duration(second) * time.Second)
		if a.restart > 0 && second == a.restart {
			state := engine.State()
			engine = mustNew(price.Options{})
			if err := engine.Restore(state, at); err != nil {
				panic(err) // it is a minute old
			}
		}
		for honest += a.honest; honest >= 1; honest-- {
			if len(order) == 0 {
				order = random.Perm(len(a.subject.payments))
			}
			engine.Add(at, a.subject.payments[order[0]])
			order = order[1:]
		}
		since, dollars := second-a.begin, 0.0
		if since >= 0 {
			rate := a.rate
			if a.burst {
				if rate *= 10; since%600 >= 60 {
					rate = 0
				}
			}
			for lies += rate; lies >= 1; lies-- {
				amounts, paid := a.lie(random, float64(own), since)
				engine.Add(at, amounts)
				if dollars += paid; o.sureAt < 0 {
					o.transactions++
				}
			}
		}
		paid = append(paid, dollars)
		if second%attackLook != 0 {
			continue
		}
		e := engine.Estimate(at)
		if since < 0 {
			continue
		}
		off := math.Abs(float64(e.Price/own) - 1)
		if e.Price == 0 {
			off = 0
		}
		o.least = min(o.least, e.Confidence)
		if e.Status == price.Contested {
			o.contested += attackLook
		}
		if off > 0.02 {
			o.wrong += attackLook
			o.surest = max(o.surest, e.Confidence)
			if e.Confidence > 0.9 {
				if o.sure2 += attackLook; o.sureAt < 0 {
					o.sureAt = since
				}
				if off > 0.05 {
					o.sure5 += attackLook
				}
			}
		}
	}
	size := sizeBase + float64(sizeOutput*(a.outputs+1))
	o.fees = float64(o.transactions) * size * float64(own) / 1e8
	run := 0.0
	for i, p := range paid {
		if run += p; i >= 600 {
			run -= paid[i-600]
		}
		o.atOnce = max(o.atOnce, run)
	}
	return o
}

// lie makes a false transaction, and returns how many dollars it pays.
func (a *attack) lie(random *rand.Rand, own float64, since int) (amounts []payment.Satoshi, dollars float64) {
	if a.flood {
		return []payment.Satoshi{payment.Satoshi(546 + 150*(36+90*random.Float64()))}, 0
	}
	at := own * a.factor
	if a.walk != 0 {
		at = own * (1 + a.walk*float64(since)/3600)
	}
	for range a.outputs {
		d := float64(drawRung(random))
		dollars += d
		if amount := payment.Satoshi(math.Round(d / at * float64(payment.Bitcoin))); amount >= payment.MinAmount && !slices.Contains(amounts, amount) {
			amounts = append(amounts, amount)
		}
	}
	return amounts, dollars
}

func drawRung(random *rand.Rand) price.USD {
	ladder := price.Rungs()
	sum := 0.0
	for _, r := range ladder {
		sum += r.Share
	}
	at := random.Float64() * sum
	for _, r := range ladder {
		if at -= r.Share; at < 0 {
			return r.Dollars
		}
	}
	return ladder[len(ladder)-1].Dollars
}

func (o outcome) String() string {
	until := "never"
	if o.sureAt >= 0 {
		until = fmt.Sprintf("%.1f min", float64(o.sureAt)/60)
	}
	return fmt.Sprintf("%9s %7.1f %7.1f %7.1f %9.1f %6.3f %6.3f %6d %8.0f %10.0f", until, float64(o.sure2)/60, float64(o.sure5)/60, float64(o.wrong)/60, float64(o.contested)/60, o.surest, o.least, o.transactions, o.fees, o.atOnce)
}

// printAttacks runs attacks, as many at once as there are processors, and prints them in order.
func printAttacks(w io.Writer, attacks []attack, at int) {
	results := make([]outcome, len(attacks))
	var wg sync.WaitGroup
	slots := make(chan struct{}, at)
	for i := range attacks {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			results[i] = attacks[i].run()
		}()
	}
	wg.Wait()
	fmt.Fprintf(w, "%-44s %9s %7s %7s %7s %9s %6s %6s %6s %8s %10s\n", "minutes, dollars", "until", "sure>2%", "sure>5%", ">2%", "contested", "surest", "least", "false", "fees", "at once")
	for i := range attacks {
		fmt.Fprintf(w, "%-44s %s\n", attacks[i].name, results[i])
	}
}

// An attackPlan is what the flags ask for. Lists that are empty stand for the table of docs/price-engine.md.
type attackPlan struct {
	factors, rates, outputs []float64
	honest                  float64
	seed                    uint64
}

// attacks returns the plan's attacks on a subject's payments.
func (p attackPlan) attacks(s *subject) (all []attack) {
	add := func(a attack) {
		a.subject, a.seed = s, p.seed
		if a.honest == 0 {
			a.honest = p.honest
		}
		if a.begin == 0 {
			a.begin = 3600
		}
		if a.last == 0 {
			a.last = 3600
		}
		what := fmt.Sprintf("x%g", a.factor)
		switch {
		case a.flood:
			what = "flood"
		case a.walk != 0:
			what = fmt.Sprintf("%+g %%/h", 100*a.walk)
		}
		a.name = fmt.Sprintf("%s %.3g/s x %d, honest %g/s", what, a.rate, a.outputs, a.honest)
		if a.burst {
			a.name += " burst"
		}
		if a.restart > 0 {
			a.name += fmt.Sprintf(" restart %+d s", a.restart-a.begin)
		}
		all = append(all, a)
	}
	if len(p.factors)+len(p.rates)+len(p.outputs) > 0 {
		for _, f := range orDefault(p.factors, 0.94) {
			for _, r := range orDefault(p.rates, 0.05) {
				for _, n := range orDefault(p.outputs, 10) {
					add(attack{factor: f, rate: r, outputs: int(n)})
				}
			}
		}
		return all
	}
	for _, f := range []float64{0.94, 0.95, 1.06, 1.2, 0.5, 2} {
		add(attack{factor: f, rate: 0.05, outputs: 10})
	}
	add(attack{factor: 0.95, rate: 0.2, outputs: 2})
	add(attack{factor: 0.95, rate: 0.2, outputs: 10})
	add(attack{factor: 0.9, rate: 0.2, outputs: 2})
	add(attack{factor: 0.9, rate: 0.5, outputs: 1})
	add(attack{factor: 1.06, rate: 0.03, outputs: 50})
	add(attack{factor: 0.5, rate: 0.2, outputs: 2})
	for _, f := range []float64{0.98, 1.03, 0.9, 1.25} {
		add(attack{factor: f, rate: 5, outputs: 1})
		add(attack{factor: f, rate: 5, outputs: 50})
		add(attack{factor: f, rate: 1, outputs: 10, burst: true})
	}
	for _, wk := range []float64{0.005, -0.01, 0.02, 0.04} {
		add(attack{walk: wk, rate: 0.5, outputs: 1, last: 4 * 3600})
	}
	add(attack{walk: 0.02, rate: 0.1, outputs: 1, last: 4 * 3600})
	add(attack{walk: 0.02, rate: 0.2, outputs: 1, last: 4 * 3600})
	add(attack{walk: 0.02, rate: 1, outputs: 10, last: 4 * 3600})
	add(attack{factor: 0.94, rate: 0.05, outputs: 10, honest: 0.3, begin: 3 * 3600})
	add(attack{factor: 1.1, rate: 0.02, outputs: 1, honest: 0.3, begin: 3 * 3600})
	add(attack{factor: 0.5, rate: 0.3, outputs: 2, honest: 0.3, begin: 3 * 3600})
	for _, r := range []int{-300, 60, 600} {
		add(attack{factor: 0.94, rate: 0.2, outputs: 10, restart: 3600 + r})
	}
	for _, r := range []float64{2, 10, 15, 40} {
		add(attack{flood: true, rate: r, last: 2 * 3600})
	}
	return all
}

func orDefault(list []float64, otherwise float64) []float64 {
	if len(list) == 0 {
		return []float64{otherwise}
	}
	return list
}

// numbers is a flag of numbers between commas.
type numbers []float64

func (n *numbers) String() string { return fmt.Sprint(*n) }

func (n *numbers) Set(text string) error {
	for _, field := range strings.Split(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if err != nil || !(v > 0) {
			return fmt.Errorf("%q is not a number over 0; want a list such as 0.94,1.06", field)
		}
		*n = append(*n, v)
	}
	return nil
}
