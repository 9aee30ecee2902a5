package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"sightglass/ingester/price"
)

// A trial measures the engine on its subjects.
type trial struct {
	subjects []subject
	random   *rand.Rand
	crossed  bool
	ladders  map[string][]price.Rung // fitted to all but the named file
}

// whole means all transactions of a file.
const whole = 0

// estimate runs a new engine on n transactions of a file, all seen at once.
func (t *trial) estimate(s *subject, n int, near float64) price.Estimate {
	engine, err := price.New(price.Options{Near: price.USD(near), Rungs: t.ladder(s)})
	if err != nil {
		panic(err) // unreachable: the hint and the ladder are valid
	}
	order := t.random.Perm(len(s.payments))
	if n != whole && n < len(order) {
		order = order[:n]
	}
	for _, i := range order {
		engine.Add(s.time, s.payments[i])
	}
	return engine.Estimate(s.time)
}

// ladder returns nil for the engine's own ladder.
func (t *trial) ladder(s *subject) []price.Rung {
	if !t.crossed {
		return nil
	}
	if t.ladders[s.name] == nil {
		t.ladders[s.name] = fitWithout(t.subjects, s.name)
	}
	return t.ladders[s.name]
}

// hint returns a price up to 10 % above or below the truth.
func (t *trial) hint(s *subject) float64 {
	truth := s.truth
	if truth == 0 {
		truth = (s.low + s.high) / 2
	}
	return truth * (0.9 + 0.2*t.random.Float64())
}

// perFile prints each file's estimates, cold and tracked, and their summaries.
func (t *trial) perFile(w io.Writer) {
	groups := []*group{
		{name: "cold, 2018 on, over 600 transactions", from: 2018, over: 600},
		{name: "cold, all time"},
		{name: "tracked, 2018 on, over 500 transactions", tracked: true, from: 2018, over: 500},
		{name: "tracked, 2015 on, over 500 transactions", tracked: true, from: 2015, over: 500},
		{name: "tracked, all time", tracked: true},
	}
	fmt.Fprintf(w, "%-8s %5s %9s | %9s %8s %5s %21s | %9s %8s %5s %21s\n", "file", "txs", "truth",
		"cold", "error", "conf", "90 % interval", "tracked", "error", "conf", "90 % interval")
	for i := range t.subjects {
		s := &t.subjects[i]
		cold, tracked := t.estimate(s, whole, 0), t.estimate(s, whole, t.hint(s))
		fmt.Fprintf(w, "%-8s %5d %9.2f | %s | %s\n", s.name, len(s.payments), s.truth, row(s, cold), row(s, tracked))
		for _, g := range groups {
			g.add(s, cold, tracked)
		}
	}
	fmt.Fprintln(w)
	for _, g := range groups {
		fmt.Fprintln(w, g)
	}
}

func row(s *subject, e price.Estimate) string {
	return fmt.Sprintf("%9.2f %+7.2f%% %5.3f %10.2f %10.2f", e.Price, 100*s.miss(e.Price), e.Confidence, e.Low, e.High)
}

// mempool prints how often cold estimates from random samples of the mempool are right.
func (t *trial) mempool(w io.Writer, draws int) {
	for i := range t.subjects {
		s := &t.subjects[i]
		if s.name != mempools[0].name && s.name != mempools[1].name {
			continue
		}
		fmt.Fprintln(w)
		for _, n := range []int{250, 500, 1000, 2000} {
			g := group{name: fmt.Sprintf("%s, cold, %d transactions", s.name, n)}
			for range draws {
				g.addError(s, t.estimate(s, n, 0))
			}
			fmt.Fprintln(w, &g)
		}
	}
}

// A group collects the errors of one kind of estimate.
type group struct {
	name    string
	tracked bool
	from    int // year
	over    int // transactions
	errors  []float64
	none    int // estimates without a price
}

func (g *group) add(s *subject, cold, tracked price.Estimate) {
	if s.truth == 0 || s.time.Year() < g.from || len(s.payments) <= g.over {
		return
	}
	e := cold
	if g.tracked {
		e = tracked
	}
	g.addError(s, e)
}

func (g *group) addError(s *subject, e price.Estimate) {
	if e.Price == 0 {
		g.none++
		return
	}
	g.errors = append(g.errors, math.Abs(s.miss(e.Price)))
}

func (g *group) String() string {
	if len(g.errors) == 0 {
		return g.name + ": none"
	}
	slices.Sort(g.errors)
	within, factor := 0, 0
	for _, e := range g.errors {
		if e <= 0.01 {
			within++
		}
		if e > 0.2 {
			factor++
		}
	}
	n := len(g.errors)
	return fmt.Sprintf("%-42s median %.2f %%  within 1 %%: %d of %d  off by a factor: %d  no price: %d",
		g.name, 100*g.errors[n/2], within, n, factor, g.none)
}
