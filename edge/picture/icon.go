package picture

import (
	"image/color"

	"golang.org/x/image/math/f32"
)

// The shapes of icon.svg, in its units: a disc with a level line and three squares.
const (
	iconSize   = 32 // the side of the square that the icon is in
	discRadius = 14
	discColour = 0x0c6b66
)

var (
	levelLine = [4]float32{5, 15.5, 27, 18.5} // left, top, right, bottom
	squares   = [][4]float32{{9, 9, 13, 13}, {19, 8, 23, 12}, {13, 21, 17, 25}}
)

// The inks of an icon: the disc, and the shapes on it.
const (
	disc ink = iota
	shape
)

// Icon returns the application's icon as a PNG of the given side in pixels, transparent around the disc.
func Icon(side int) []byte { return icon(side, false) }

// MaskableIcon returns an icon that fills its square, for systems that cut icons into their own shape. They keep a circle of
// 80 % of the side (https://www.w3.org/TR/appmanifest/#icon-masks), which all shapes on the disc are in.
func MaskableIcon(side int) []byte { return icon(side, true) }

// icon draws the shapes on a disc, or on a full square.
func icon(side int, full bool) []byte {
	colour := color.NRGBA{R: discColour >> 16, G: discColour >> 8 & 255, B: discColour & 255, A: 255}
	c := newCanvas(side, side, []mix{disc: {color.NRGBA{}, colour}, shape: {colour, color.NRGBA{R: 255, G: 255, B: 255, A: 255}}})
	at := func(x, y float32) f32.Vec2 {
		unit := float32(side) / iconSize
		return f32.Vec2{x * unit, y * unit}
	}
	if full {
		c.fill(c.Rect, disc)
	} else {
		const corners = 180 // looks round in 512 pixels
		c.polygons(c.Rect, disc, circle(at(iconSize/2, iconSize/2), float64(side)*discRadius/iconSize, corners))
	}
	for _, r := range append(squares, levelLine) {
		c.polygons(c.Rect, shape, []f32.Vec2{at(r[0], r[1]), at(r[2], r[1]), at(r[2], r[3]), at(r[0], r[3])})
	}
	return c.png()
}
