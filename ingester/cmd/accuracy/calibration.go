package main

import (
	"fmt"
	"io"
	"math"

	"sightglass/ingester/price"
)

// The samples for calibration: samplesPerSize random samples of each size, from each file that has at least half as
// many transactions.
const samplesPerSize = 20

var sampleSizes = []int{250, 500, 1000, 2000, 4000}

// calibration prints how often estimates were right at each stated confidence, and how often intervals contained the
// truth.
func (t *trial) calibration(w io.Writer) {
	coldNew := &reliability{name: "cold, 2018 on"}
	tracked := &reliability{name: "tracked, 2015 on"}
	both := &reliability{name: "cold from 2018 on and tracked from 2015 on"}
	coldAll := &reliability{name: "cold, all time"}
	for i := range t.subjects {
		s := &t.subjects[i]
		for _, n := range sampleSizes {
			for range samplesPerSize {
				if n > 2*len(s.payments) {
					continue
				}
				e := t.estimate(s, n, 0)
				coldAll.add(s, n, e)
				if s.time.Year() >= 2018 {
					coldNew.add(s, n, e)
					both.add(s, n, e)
				}
				if s.time.Year() >= 2015 {
					e = t.estimate(s, n, t.hint(s))
					tracked.add(s, n, e)
					both.add(s, n, e)
				}
			}
		}
	}
	for _, r := range []*reliability{coldNew, tracked, both, coldAll} {
		r.print(w)
	}
}

// bins is the number of equal ranges into which confidence is divided.
const bins = 10

// reliability counts how often estimates were right, by stated confidence.
type reliability struct {
	name           string
	samples, right [bins]int
	stated         [bins]float64
	total, covered int
	none           int      // estimates without a price
	overSure       []string // confidence over 0.9, and more than 2 % off
}

func (r *reliability) add(s *subject, n int, e price.Estimate) {
	if e.Price == 0 {
		r.none++
		return
	}
	bin := min(int(e.Confidence*bins), bins-1)
	r.samples[bin]++
	r.stated[bin] += e.Confidence
	off := math.Abs(s.miss(e.Price))
	if off <= 0.01 {
		r.right[bin]++
	}
	r.total++
	if s.covered(e) {
		r.covered++
	}
	if e.Confidence > 0.9 && off > 0.02 {
		r.overSure = append(r.overSure, fmt.Sprintf("%d of %s: %+.1f %% at %.3f", n, s.name, 100*s.miss(e.Price), e.Confidence))
	}
}

func (r *reliability) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n  confidence   samples  stated   right\n", r.name)
	for i, n := range r.samples {
		if n == 0 {
			continue
		}
		stated, right, mark := r.stated[i]/float64(n), float64(r.right[i])/float64(n), ""
		if n >= 20 && math.Abs(stated-right) > 0.1 {
			mark = "  off the diagonal"
		}
		fmt.Fprintf(w, "  %.1f to %.1f   %7d   %.3f   %.3f%s\n", float64(i)/bins, float64(i+1)/bins, n, stated, right, mark)
	}
	fmt.Fprintf(w, "  the interval contains the truth in %.3f of %d\n", float64(r.covered)/float64(r.total), r.total)
	fmt.Fprintf(w, "  without a price: %d\n", r.none)
	fmt.Fprintf(w, "  over 0.9 and more than 2 %% off: %d\n", len(r.overSure))
	for _, s := range r.overSure[:min(len(r.overSure), 10)] {
		fmt.Fprintln(w, "    ", s)
	}
}
