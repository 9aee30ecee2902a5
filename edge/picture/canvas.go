package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/png"

	"golang.org/x/image/math/f32"
	"golang.org/x/image/vector"
)

// An ink is a colour on a background. The palette has levels entries for each, from the background to the colour: edges are
// smooth, and a pixel is one byte. A picture with colours of four bytes takes three times as long.
type ink uint8

const levels = 16

// A mix is what an ink is mixed from.
type mix struct{ background, colour color.NRGBA }

// A canvas is an image of inks. Its first ink's background is that of the image.
type canvas struct{ *image.Paletted }

func newCanvas(width, height int, inks []mix) canvas {
	palette := make(color.Palette, 0, levels*len(inks))
	for _, m := range inks {
		for level := range levels {
			palette = append(palette, blend(m.background, m.colour, float64(level)/(levels-1)))
		}
	}
	return canvas{image.NewPaletted(image.Rect(0, 0, width, height), palette)}
}

// blend returns the colour with a share, 0 to 1, of the way from one colour to another. A transparent one has no hue of its own.
func blend(from, to color.NRGBA, share float64) color.NRGBA {
	if from.A == 0 {
		from.R, from.G, from.B = to.R, to.G, to.B
	}
	between := func(x, y uint8) uint8 { return uint8(float64(x) + share*(float64(y)-float64(x)) + 0.5) }
	return color.NRGBA{R: between(from.R, to.R), G: between(from.G, to.G), B: between(from.B, to.B), A: between(from.A, to.A)}
}

// paint draws the mask, whose bounds are in the canvas's coordinates, in an ink.
func (c canvas) paint(mask *image.Alpha, in ink) {
	r := mask.Rect.Intersect(c.Rect)
	first := uint8(in) * levels
	for y := r.Min.Y; y < r.Max.Y; y++ {
		from := mask.Pix[mask.PixOffset(r.Min.X, y):][:r.Dx()]
		to := c.Pix[c.PixOffset(r.Min.X, y):][:r.Dx()]
		for i, alpha := range from {
			level := uint8((int(alpha)*(levels-1) + 127) / 255)
			if level == 0 || to[i] > first+level && to[i] < first+levels { // neighbouring glyphs overlap
				continue
			}
			to[i] = first + level
		}
	}
}

// fill fills a rectangle.
func (c canvas) fill(r image.Rectangle, in ink) {
	r = r.Intersect(c.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := c.Pix[c.PixOffset(r.Min.X, y):][:r.Dx()]
		for i := range row {
			row[i] = uint8(in)*levels + levels - 1
		}
	}
}

// polygons fills polygons inside a rectangle. All must have the same orientation, or they are cut out of each other.
func (c canvas) polygons(inside image.Rectangle, in ink, all ...[]f32.Vec2) {
	inside = inside.Intersect(c.Rect)
	r := vector.NewRasterizer(inside.Dx(), inside.Dy())
	left, top := float32(inside.Min.X), float32(inside.Min.Y)
	for _, polygon := range all {
		for i, p := range polygon {
			if i == 0 {
				r.MoveTo(p[0]-left, p[1]-top)
			} else {
				r.LineTo(p[0]-left, p[1]-top)
			}
		}
		r.ClosePath()
	}
	mask := image.NewAlpha(inside)
	r.Draw(mask, inside, image.Opaque, image.Point{})
	c.paint(mask, in)
}

// png returns the image's PNG. The fastest level costs a few kB: most of the image is one colour.
func (c canvas) png() []byte {
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(&out, c); err != nil {
		panic(err) // unreachable: the image is not empty, and a buffer accepts everything
	}
	return out.Bytes()
}
