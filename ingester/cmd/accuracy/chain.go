package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"sightglass/ingester/payment"
	"sightglass/ingester/price"
)

// printChain prints the errors of the blocks as one chain with gaps, as the backfill follows one: forward, and backward
// from the newest.
func (t *trial) printChain(w io.Writer, only []string) error {
	var chain []*subject
	for i := range t.subjects {
		s := &t.subjects[i]
		if _, err := fmt.Sscan(s.name, new(int)); err == nil && (len(only) == 0 || slices.Contains(only, s.name)) {
			chain = append(chain, s)
		}
	}
	slices.SortFunc(chain, func(a, b *subject) int { return a.time.Compare(b.time) })
	estimates := make(map[*subject][2]price.Estimate)
	for direction := range 2 {
		filter, err := price.NewBlockFilter(0)
		if err != nil {
			return err
		}
		var steps []price.Step
		last := chain[0].time
		for _, s := range chain {
			weigher, err := price.NewBlockWeigher(t.ladder(s))
			if err != nil {
				return err
			}
			e := weigher.Weigh([][]payment.Satoshi{slices.Concat(s.payments...)})[0]
			steps = append(steps, price.Step{Evidence: e, Gap: s.time.Sub(last).Abs()})
			last = s.time
		}
		for k, e := range filter.Follow(steps, len(steps)) {
			both := estimates[chain[k]]
			both[direction] = e
			estimates[chain[k]] = both
		}
		slices.Reverse(chain)
	}
	fmt.Fprintf(w, "%-8s %-10s %5s %9s | %9s %8s %5s %21s | %9s %8s %5s %21s\n", "block", "day", "txs", "truth",
		"forward", "error", "conf", "90 % interval", "backward", "error", "conf", "90 % interval")
	groups := []*group{
		{name: "forward, before 2017"}, {name: "forward, 2017 on"}, {name: "backward, before 2017"}, {name: "backward, 2017 on"},
	}
	covered, known := [4]int{}, [4]int{}
	for _, s := range chain {
		both := estimates[s]
		fmt.Fprintf(w, "%-8s %s %5d %9.2f | %s | %s\n", s.name, s.time.Format(time.DateOnly), len(s.payments), s.truth, row(s, both[0]), row(s, both[1]))
		if s.truth == 0 {
			continue
		}
		for direction, e := range both {
			k := 2 * direction
			if s.time.Year() >= 2017 {
				k++
			}
			groups[k].addError(s, e)
			known[k]++
			if s.covered(e) {
				covered[k]++
			}
		}
	}
	fmt.Fprintln(w)
	for k, g := range groups {
		slices.Sort(g.errors)
		worst := math.NaN()
		if n := len(g.errors); n > 0 {
			worst = 100 * g.errors[(n*95+99)/100-1]
		}
		fmt.Fprintf(w, "%v  95 %%: %.2f %%  in the interval: %d of %d\n", g, worst, covered[k], known[k])
	}
	return nil
}
