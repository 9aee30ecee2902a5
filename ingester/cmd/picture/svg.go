package main

import (
	"fmt"
	"strings"
)

// The drawing area, in SVG units.
const (
	width, height = 1000, 420
	left, right   = 20, 980
	top, bottom   = 60, 370
)

// svg builds a drawing.
type svg struct{ strings.Builder }

func newSVG(title, subtitle string) *svg {
	d := new(svg)
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	d.add(`<rect width="100%%" height="100%%" fill="white"/>`)
	d.text(left, 24, "start", "#111", title)
	d.text(left, 44, "start", "#666", subtitle)
	return d
}

func (d *svg) add(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d *svg) text(x, y float64, anchor, fill, s string) {
	d.add(`<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`, x, y, anchor, fill, s)
}

// bar draws a bar on the bottom line; share is its height, from 0 to 1.
func (d *svg) bar(x, w, share float64, fill string) {
	h := share * (bottom - top)
	d.add(`<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"/>`, x, bottom-h, w, h, fill)
}

// rule draws a vertical line with a label below.
func (d *svg) rule(x float64, stroke, label string) {
	d.add(`<line x1="%.2f" x2="%.2f" y1="%d" y2="%d" stroke="%s" stroke-width="1"/>`, x, x, top, bottom+6, stroke)
	d.text(x, bottom+22, "middle", stroke, label)
}

func (d *svg) String() string { return d.Builder.String() + "</svg>\n" }

// across maps v in [from, to] to the drawing's width.
func across(v, from, to float64) float64 { return left + (v-from)/(to-from)*(right-left) }
