package picture

import (
	"image"
	"math"
	"slices"
	"time"

	"golang.org/x/image/math/f32"

	"sightglass/shared/history"
)

const (
	lineWidth = 4.0 // pixels; 2 in a preview of half the size

	labelGap  = 18 // from the area to the labels beside it
	timesDrop = 32 // from the area to the baseline of the times

	// gapSteps is how many steps without an entry are a gap in the line, as on the dashboard.
	gapSteps = 3.5

	// minSpan is the smallest range of the price axis, as a share of the price. A smaller one would magnify noise.
	minSpan = 0.002
)

// A chart is the line of the price in a rectangle, with its band. Beside it are the highest and the lowest price, below it
// the times.
type chart struct {
	canvas
	area     image.Rectangle
	style    style           // of all labels
	entries  []history.Entry // with a price, oldest first
	step     int64           // seconds
	from, to int64           // unix seconds
	bottom   float64         // the price at the lower edge, USD
	span     float64         // from the lower to the upper edge, USD
}

// chart draws the history in a rectangle, but for the times, which are below it.
func (c canvas) chart(area image.Rectangle, n Now) {
	g := chart{canvas: c, area: area, style: styled(regular(), smallSize, soft), step: n.Step, to: n.At.Unix(), from: n.At.Unix() - history.Day}
	for _, e := range n.History {
		if e.Price > 0 && e.Timestamp >= g.from && e.Timestamp <= g.to {
			g.entries = append(g.entries, e)
		}
	}
	if len(g.entries) < 2 {
		c.write(area.Min.X, (area.Min.Y+area.Max.Y)/2, "No history of the last 24 hours yet", styled(regular(), 26, soft))
		return
	}
	g.from = max(g.from, g.entries[0].Timestamp)
	low, high := g.extremes()
	g.scale(low, high)
	cents := low < 100 || high-low < 10
	upper, lower, span := "high "+dollars(high, cents), "low "+dollars(low, cents), "last "+duration(g.to-g.from)+", UTC"
	g.area.Max.X -= max(g.style.width(upper), g.style.width(lower), g.style.width(span)) + labelGap
	g.times()
	g.write(g.area.Max.X+labelGap, g.area.Max.Y+timesDrop, span, g.style)
	runs := g.runs()
	g.band(runs)
	g.levels(low, high, lower, upper)
	g.line(runs)
}

// extremes returns the lowest and the highest price.
func (g *chart) extremes() (low, high float64) {
	low, high = math.Inf(1), 0
	for _, e := range g.entries {
		low, high = min(low, e.Price), max(high, e.Price)
	}
	return low, high
}

// scale chooses the price axis. It has the whole line, and of the band at most half as much on each side: the wide band of a
// cold start would make the line flat.
func (g *chart) scale(low, high float64) {
	lowest, highest := low, high
	for _, e := range g.entries {
		lowest, highest = min(lowest, e.Low), max(highest, e.High)
	}
	line := max(high-low, minSpan*high)
	bottom := max(lowest, (low+high)/2-line)
	top := min(highest, (low+high)/2+line)
	g.span = max(top-bottom, line) * 1.1
	g.bottom = (top+bottom)/2 - g.span/2
}

// at returns where a price at a time is. It may be outside of the area, but not far.
func (g *chart) at(t int64, price float64) f32.Vec2 {
	width, height := float64(g.area.Dx()), float64(g.area.Dy())
	x := float64(g.area.Min.X) + width*float64(t-g.from)/float64(max(1, g.to-g.from))
	y := float64(g.area.Max.Y) - height*(price-g.bottom)/g.span
	return f32.Vec2{float32(x), float32(min(max(y, float64(g.area.Min.Y)-height), float64(g.area.Max.Y)+height))}
}

// runs returns the entries, split at gaps.
func (g *chart) runs() (all [][]history.Entry) {
	begin := 0
	for i := 1; i <= len(g.entries); i++ {
		if i == len(g.entries) || float64(g.entries[i].Timestamp-g.entries[i-1].Timestamp) > gapSteps*float64(g.step) {
			all = append(all, g.entries[begin:i])
			begin = i
		}
	}
	return all
}

// band draws the 90 % intervals.
func (g *chart) band(runs [][]history.Entry) {
	var all [][]f32.Vec2
	for _, run := range runs {
		polygon := make([]f32.Vec2, 0, 2*len(run))
		for _, e := range run {
			polygon = append(polygon, g.at(e.Timestamp, max(e.High, e.Price)))
		}
		for _, e := range slices.Backward(run) {
			polygon = append(polygon, g.at(e.Timestamp, min(e.Low, e.Price)))
		}
		all = append(all, polygon)
	}
	g.polygons(g.area, band, all...)
}

// line draws the prices: a quadrilateral for each piece, and a dot on each entry, which joins them and shows one that is alone.
func (g *chart) line(runs [][]history.Entry) {
	var all [][]f32.Vec2
	for _, run := range runs {
		for i, e := range run {
			p := g.at(e.Timestamp, e.Price)
			all = append(all, dot(p))
			if i > 0 {
				all = append(all, piece(g.at(run[i-1].Timestamp, run[i-1].Price), p))
			}
		}
	}
	const half = lineWidth / 2
	g.polygons(g.area.Inset(-half-1), line, all...)
}

// piece returns a line's outline, clockwise. a is left of b.
func piece(a, b f32.Vec2) []f32.Vec2 {
	dx, dy := b[0]-a[0], b[1]-a[1]
	length := float32(math.Hypot(float64(dx), float64(dy)))
	if length == 0 {
		return nil
	}
	nx, ny := -dy/length*lineWidth/2, dx/length*lineWidth/2
	return []f32.Vec2{{a[0] - nx, a[1] - ny}, {b[0] - nx, b[1] - ny}, {b[0] + nx, b[1] + ny}, {a[0] + nx, a[1] + ny}}
}

// dot returns the outline of a dot as wide as the line, clockwise.
func dot(p f32.Vec2) []f32.Vec2 { return circle(p, lineWidth/2, 8) }

// circle returns a regular polygon, clockwise.
func circle(middle f32.Vec2, radius float64, corners int) []f32.Vec2 {
	all := make([]f32.Vec2, corners)
	for i := range all {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / float64(corners))
		all[i] = f32.Vec2{middle[0] + float32(radius*cos), middle[1] + float32(radius*sin)}
	}
	return all
}

// levels writes the highest and the lowest price beside the chart, each with a line at its level.
func (g *chart) levels(low, high float64, lowest, highest string) {
	const least = 32 // pixels between the two baselines
	upper, lower := int(g.at(g.to, high)[1]), int(g.at(g.to, low)[1])
	for _, y := range []int{upper, lower} {
		g.fill(image.Rect(g.area.Min.X, y-1, g.area.Max.X+labelGap/2, y+1), grid)
	}
	middle := (upper + lower) / 2
	upper, lower = min(upper, middle-least/2), max(lower, middle+least/2)
	const drop = smallSize / 3 // from the middle of the digits to their baseline
	g.write(g.area.Max.X+labelGap, upper+drop, highest, g.style)
	g.write(g.area.Max.X+labelGap, lower+drop, lowest, g.style)
}

// ticks are the possible distances between two labels of the time axis, in seconds.
var ticks = [...]int64{60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 4 * 3600}

const maxTicks = 6

// times draws the time axis.
func (g *chart) times() {
	step := ticks[len(ticks)-1]
	for _, candidate := range slices.Backward(ticks[:]) {
		if (g.to-g.from)/candidate <= maxTicks {
			step = candidate
		}
	}
	for t := (g.from + step - 1) / step * step; t <= g.to; t += step {
		x := int(g.at(t, 0)[0])
		g.fill(image.Rect(x-1, g.area.Min.Y, x+1, g.area.Max.Y), grid)
		label := time.Unix(t, 0).UTC().Format("15:04")
		half := g.style.width(label) / 2
		g.write(min(max(x-half, g.area.Min.X), g.area.Max.X-2*half), g.area.Max.Y+timesDrop, label, g.style)
	}
}
