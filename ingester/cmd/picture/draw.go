package main

import (
	"fmt"
	"math"
	"strings"

	"sightglass/ingester/payment"
	"sightglass/ingester/price"
)

// drawLadder draws a histogram of the amounts on a logarithmic scale from 5 to 2,000 dollars, with the rungs that are
// paid most.
func drawLadder(amounts []payment.Satoshi, e price.Estimate) string {
	const from, to = 0.7, 3.3 // log10 dollars
	const bins = 1040         // of 0.6 %
	var counts [bins]int
	most := 0
	for _, a := range amounts {
		dollars := math.Log10(float64(a) / float64(payment.Bitcoin) * float64(e.Price))
		if i := int((dollars - from) / (to - from) * bins); dollars >= from && i < bins {
			counts[i]++
			most = max(most, counts[i])
		}
	}
	d := newSVG(fmt.Sprintf("%d payments of one block, by amount", len(amounts)),
		fmt.Sprintf("the ladder of round dollars where the engine finds it: %.0f USD for a bitcoin", e.Price))
	for _, dollars := range []float64{5, 10, 20, 30, 50, 100, 200, 300, 500, 1000} {
		d.rule(across(math.Log10(dollars), from, to), "#e0a080", fmt.Sprintf("$%.0f", dollars))
	}
	for i, n := range counts {
		if n > 0 {
			d.bar(left+float64(i)*(right-left)/bins, float64(right-left)/bins, float64(n)/float64(most), "#205070")
		}
	}
	return d.String()
}

// drawPosterior draws the probability of each price from a fifth to five times the estimate, on a logarithmic scale, so
// that improbable prices show too.
func drawPosterior(engine *price.Engine, e price.Estimate) string {
	from, to := math.Log10(float64(e.Price)/5), math.Log10(float64(e.Price)*5)
	const decades = 12 // of probability, downwards from the highest
	highest := 0.0
	for _, p := range engine.Posterior() {
		highest = max(highest, p)
	}
	d := newSVG(fmt.Sprintf("the posterior: %.2f USD, 90 %% between %.2f and %.2f, within 1 %% with probability %.3f",
		e.Price, e.Low, e.High, e.Confidence),
		fmt.Sprintf("probability of each price, logarithmic: the top is %.1e, the bottom 12 powers of ten less", highest))
	for _, factor := range []float64{0.2, 0.25, 0.4, 0.5, 1, 2, 2.5, 4, 5} {
		d.rule(across(math.Log10(float64(e.Price)*factor), from, to), "#e0a080", fmt.Sprintf("x%g", factor))
	}
	var outline strings.Builder
	for usd, p := range engine.Posterior() {
		if x := math.Log10(float64(usd)); x >= from && x <= to {
			share := max(0, 1+math.Log10(p/highest)/decades)
			fmt.Fprintf(&outline, "L%.1f %.1f", across(x, from, to), bottom-share*(bottom-top))
		}
	}
	d.add(`<path d="M%d %d%sL%d %dZ" fill="#205070"/>`, left, bottom, outline.String(), right, bottom)
	return d.String()
}
