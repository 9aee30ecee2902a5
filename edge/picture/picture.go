// Package picture draws the price now, for previews of links in chats and on social networks, and the application's icons.
package picture

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"time"

	"sightglass/shared/contract"
	"sightglass/shared/history"
)

// The picture's size in pixels. Previews have this shape, and often half the size.
const (
	Width  = 1200
	Height = 630
)

// Now is what is drawn.
type Now struct {
	Snapshot *contract.Snapshot // nil before the first
	History  []history.Entry    // oldest first; what is older than a day is left out
	Step     int64              // seconds between two entries of the history
	Notice   string             // the operator's; may be empty
	Replay   bool               // the transactions are recorded ones
	At       time.Time
}

// The inks of the picture, which are colours of the page's light theme (palette.css).
const (
	text ink = iota
	soft
	accent
	warn
	grid
	band
	line       // on the band
	notice     // on the notice's background
	noticeBack // the notice's background
)

var inks = func() []mix {
	rgb := func(c uint32) color.NRGBA {
		return color.NRGBA{R: uint8(c >> 16), G: uint8(c >> 8), B: uint8(c), A: 255}
	}
	paper, accentColour, warnColour, warnPaper := rgb(0xfbfaf8), rgb(0x0b6763), rgb(0x8a4b00), rgb(0xfdf0da)
	bandColour := blend(paper, accentColour, 0x40/255.0) // --band-strong
	return []mix{
		text: {paper, rgb(0x1c1e21)}, soft: {paper, rgb(0x5b6067)}, accent: {paper, accentColour}, warn: {paper, warnColour},
		grid: {paper, rgb(0xe6e4df)}, band: {paper, bandColour}, line: {bandColour, accentColour},
		notice: {warnPaper, warnColour}, noticeBack: {paper, warnPaper},
	}
}()

// Sizes and distances in pixels.
const (
	margin     = 60
	titleSize  = 32
	bodySize   = 30
	smallSize  = 24
	priceSize  = 112
	noticeSize = 28
	noticeLine = 38 // from one baseline to the next
)

// Draw returns the picture as a PNG.
func Draw(n Now) []byte {
	c := newCanvas(Width, Height, inks)
	top := c.notice(n.Notice)
	c.header(top, n.At)
	c.price(top, n)
	c.chart(image.Rect(margin, top+322, Width-margin, Height-110), n)
	c.write(margin, Height-26, "Computed from Bitcoin transactions, without data from exchanges.", styled(regular(), smallSize, soft))
	return c.png()
}

// notice draws the operator's notice at the top. It returns where the rest begins: 0 without a notice.
func (c canvas) notice(words string) (top int) {
	s := styled(bold(), noticeSize, notice)
	lines := s.wrap(words, Width-2*margin, 2)
	if len(lines) == 0 {
		return 0
	}
	height := 24 + noticeLine*len(lines)
	c.fill(image.Rect(0, 0, Width, height), noticeBack)
	for i, l := range lines {
		c.write(margin, 40+noticeLine*i, l, s)
	}
	return height - 20 // the header's own distance is enough
}

func (c canvas) header(top int, at time.Time) {
	c.write(margin, top+70, "Sightglass: one bitcoin, in US dollars", styled(bold(), titleSize, soft))
	c.writeLeft(Width-margin, top+70, at.UTC().Format("2 Jan 2006, 15:04 UTC"), styled(regular(), titleSize-4, soft))
}

// price draws the price, or why there is none, the state in words, and the interval.
func (c canvas) price(top int, n Now) {
	w := wordsOf(n)
	in := text
	if w.old || w.unsure {
		in = soft
	}
	const width = Width - 2*margin
	c.write(margin, top+188, w.large, fitted(bold(), priceSize, in, w.large, width))
	in = warn
	if w.live {
		in = accent
	}
	c.mark(image.Rect(margin, top+222, margin+20, top+242), in, w.live)
	state := styled(bold(), bodySize, in)
	c.write(margin+34, top+243, state.shorten(w.state, width-34), state)
	s := fitted(regular(), bodySize, text, w.small, width)
	c.write(margin, top+290, s.shorten(w.small, width), s)
}

// mark draws the square beside the state, which is hollow unless the price is live, as on the page.
func (c canvas) mark(r image.Rectangle, in ink, full bool) {
	c.fill(r, in)
	if !full {
		c.clear(r.Inset(4))
	}
}

// clear makes a rectangle the colour of the paper again.
func (c canvas) clear(r image.Rectangle) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		clear(c.Pix[c.PixOffset(r.Min.X, y):][:r.Dx()])
	}
}

// words is what the picture says of the price.
type words struct {
	large, small, state string
	live                bool // the price is of now, and to be relied on
	old                 bool // the price is not of now
	unsure              bool // there is no price, or none that is drawn large
}

func wordsOf(n Now) (w words) {
	s := n.Snapshot
	if s == nil {
		return words{large: "No price yet", state: "nothing received yet", unsure: true}
	}
	w.state, w.live, w.old = stateOf(s, n.At)
	if n.Replay && w.live {
		w.state, w.live, w.old = "replay: recorded transactions, not today's price", false, true
	}
	if s.Price <= 0 {
		w.large, w.live, w.unsure = "No price yet", false, true
		return w
	}
	interval := fmt.Sprintf("90%% interval %s – %s, confidence %.1f%%", amount(s.Low), amount(s.High), 100*min(s.Confidence, 0.999)) // nothing is certain
	// A preview is looked at for a moment, out of its context: it must not spread a price that may be wrong.
	if s.Status == contract.Warming || s.Confidence < contract.SureConfidence {
		w.large, w.live, w.unsure = "No sure price", false, true
		w.small = "maybe " + amount(s.Price) + ", " + interval
		return w
	}
	w.large, w.small = dollars(s.Price, true), interval
	return w
}

// stateOf returns the status in words. A status of a later version is shown as live, as on the page.
func stateOf(s *contract.Snapshot, at time.Time) (state string, live, old bool) {
	switch s.Status {
	case contract.Warming:
		return "warming up: too little evidence for a price", false, false
	case contract.Contested:
		return "contested: round amounts are being paid at a second price", false, false
	case contract.Stale:
		if s.Price <= 0 {
			return "stale: no news from the ingester", false, true
		}
		return "stale: last price " + moment(time.UnixMilli(int64(s.Timestamp*1000)), at), false, true
	default:
		return "live", true, false
	}
}

// moment returns a time in UTC, with its date unless it is that of now.
func moment(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04 UTC")
	}
	return t.Format("2 Jan 2006, 15:04 UTC")
}

// amount returns dollars without cents from 100 on, as the page does.
func amount(usd float64) string { return dollars(usd, usd < 100) }

// duration returns a time in its largest unit.
func duration(seconds int64) string {
	round := func(unit float64) int { return int(math.Round(float64(seconds) / unit)) }
	switch {
	case seconds < 90:
		return fmt.Sprintf("%d s", seconds)
	case seconds < 90*60:
		return fmt.Sprintf("%d min", round(60))
	default:
		return fmt.Sprintf("%d h", round(3600))
	}
}
