// Command accuracy measures the engine on real transactions whose price is known.
//
//	accuracy --data DIR             per file, then medians, then the calibration of the stated confidence
//	accuracy --data DIR --crossed   the same, with a ladder fitted to all other files
//	accuracy --data DIR --market    tracking of a moving market, and resistance to attacks
//	accuracy --data DIR --attack    what false payments beside honest ones reach
//	accuracy --data DIR --chain     the blocks as one chain with gaps, as the backfill follows one
//	accuracy --data DIR --fit       fit the ladder, and print it in the form of price/rungs.go
//
// DIR holds truth.csv (file, height, time, transactions, price, the day's low and high) and the files that it
// names. The mempool beside them is not in truth.csv; its prices are in truth.go.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"

	"sightglass/ingester/price"
)

func main() {
	dir := flag.String("data", "../shared/data", "folder with truth.csv and the files that it names")
	fit := flag.Bool("fit", false, "fit the ladder and print it")
	market := flag.Bool("market", false, "measure the tracking of moving markets and the resistance to attacks")
	attacks := flag.Bool("attack", false, "measure what false payments reach")
	var plan attackPlan
	flag.Var((*numbers)(&plan.factors), "factors", "with --attack: false prices, over the true one, between commas")
	flag.Var((*numbers)(&plan.rates), "rates", "with --attack: false transactions a second")
	flag.Var((*numbers)(&plan.outputs), "outputs", "with --attack: outputs of a false transaction")
	flag.Float64Var(&plan.honest, "honest", 5, "with --attack: honest transactions a second")
	chain := flag.Bool("chain", false, "measure the blocks as one chain with gaps, or those named as arguments")
	crossed := flag.Bool("crossed", false, "measure each file with a ladder fitted to all others")
	seed := flag.Uint64("seed", 1, "seed of the random samples and hints")
	draws := flag.Int("draws", 40, "random samples of the mempool, for each size")
	flag.Parse()
	subjects, err := load(*dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "accuracy:", err)
		os.Exit(1)
	}
	if *fit {
		printLadder(os.Stdout, fitWithout(subjects, ""))
		printTypical(os.Stdout, subjects)
		return
	}
	if *market {
		printMarkets(os.Stdout, subjects)
		return
	}
	if *attacks {
		plan.seed = *seed
		i := slices.IndexFunc(subjects, func(s subject) bool { return s.name == mempools[0].name })
		if i < 0 {
			fmt.Fprintln(os.Stderr, "accuracy: --attack needs", mempools[0].file, "in", *dir)
			os.Exit(1)
		}
		printAttacks(os.Stdout, plan.attacks(&subjects[i]), runtime.GOMAXPROCS(0))
		return
	}
	t := &trial{
		subjects: subjects, crossed: *crossed, ladders: make(map[string][]price.Rung),
		random: rand.New(rand.NewPCG(*seed, 0)),
	}
	if *chain {
		if err := t.printChain(os.Stdout, flag.Args()); err != nil {
			fmt.Fprintln(os.Stderr, "accuracy:", err)
			os.Exit(1)
		}
		return
	}
	t.perFile(os.Stdout)
	t.mempool(os.Stdout, *draws)
	t.calibration(os.Stdout)
}

// fitFrom is the first year whose blocks the ladder is fitted to: earlier, people priced in bitcoin more than in
// dollars.
const fitFrom = 2017

// fitLeast is the minimum number of transactions of a file that the ladder is fitted to.
const fitLeast = 300

// fitWithout fits the ladder to all files but one.
func fitWithout(subjects []subject, name string) []price.Rung {
	var samples []price.Sample
	for i := range subjects {
		s := &subjects[i]
		if s.time.Year() >= fitFrom && s.name != name && len(s.payments) >= fitLeast {
			samples = append(samples, s.sample())
		}
	}
	var amounts []price.USD
	for _, r := range price.Rungs() {
		amounts = append(amounts, r.Dollars)
	}
	return price.Fit(samples, amounts)
}

// printTypical prints the typical payment by file, and the line through them that a cold start assumes.
func printTypical(w io.Writer, subjects []subject) {
	var samples []price.Sample
	for i := range subjects {
		if s := &subjects[i]; len(s.payments) >= fitLeast {
			samples = append(samples, s.sample())
			fmt.Fprintf(w, "%-8s %9.2f USD, mean of log10 dollars %.2f\n", s.name, s.fitTo(), samples[len(samples)-1].Typical())
		}
	}
	height, slope, spread := price.FitTypical(samples)
	fmt.Fprintf(w, "a line through them: %.2f at 10,000 USD, slope %.2f, standard deviation %.2f\n", height, slope, spread)
}

func printLadder(w io.Writer, rungs []price.Rung) {
	for i, r := range rungs {
		end := " "
		if i%6 == 5 || i == len(rungs)-1 {
			end = "\n"
		}
		fmt.Fprintf(w, "{%g, %.5f},%s", r.Dollars, r.Share, end)
	}
}
