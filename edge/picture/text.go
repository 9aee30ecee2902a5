package picture

import (
	"image"
	"sort"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// The fonts are the Go project's, which are compiled in: the machine need not have any. They have Latin, Greek and Cyrillic
// letters; others are drawn as boxes.
var (
	regular = sync.OnceValue(func() *opentype.Font { return parseFont(goregular.TTF) })
	bold    = sync.OnceValue(func() *opentype.Font { return parseFont(gobold.TTF) })
)

func parseFont(ttf []byte) *opentype.Font {
	f, err := opentype.Parse(ttf)
	if err != nil {
		panic(err) // unreachable: the font is compiled in
	}
	return f
}

// A style is a font in a size, and an ink. It is not safe for concurrent use.
type style struct {
	font.Face
	ink ink
}

// styled returns a style. The size is that of an em, in pixels.
func styled(f *opentype.Font, size float64, in ink) style {
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull}) // 72 DPI: a point is a pixel
	if err != nil {
		panic(err) // unreachable: NewFace has no errors
	}
	return style{face, in}
}

// fitted returns the first style, from the given size down to half of it, in which the text is at most width pixels wide.
func fitted(f *opentype.Font, size float64, in ink, text string, width int) style {
	s := styled(f, size, in)
	for smaller := size - 2; s.width(text) > width && smaller >= size/2; smaller -= 2 {
		s = styled(f, smaller, in)
	}
	return s
}

// width returns the text's width in pixels.
func (s style) width(text string) int { return font.MeasureString(s, text).Ceil() }

// shorten returns the text, or what of its beginning fits into width pixels with an ellipsis. A text is measured a few times
// only, however long it is.
func (s style) shorten(text string, width int) string {
	if s.width(text) <= width {
		return text
	}
	runes := []rune(text)
	cut := func(n int) string { return strings.TrimRight(string(runes[:n]), " ") + "…" }
	return cut(max(sort.Search(len(runes), func(n int) bool { return s.width(cut(n)) > width })-1, 0))
}

// wrap returns the text as at most so many lines of width pixels, the last one shortened.
func (s style) wrap(text string, width, lines int) (all []string) {
	words := strings.Fields(text)
	for len(words) > 0 && len(all) < lines {
		n := 1
		for n < len(words) && s.width(strings.Join(words[:n+1], " ")) <= width {
			n++
		}
		if len(all) == lines-1 {
			n = len(words)
		}
		all = append(all, s.shorten(strings.Join(words[:n], " "), width))
		words = words[n:]
	}
	return all
}

// write draws the text from x to the right, on a baseline.
func (c canvas) write(x, baseline int, text string, s style) {
	dot := fixed.P(x, baseline)
	before := rune(-1)
	for _, r := range text {
		if before >= 0 {
			dot.X += s.Kern(before, r)
		}
		at, glyph, from, advance, ok := s.Glyph(dot, r)
		if mask, isAlpha := glyph.(*image.Alpha); ok && isAlpha {
			c.paint(&image.Alpha{Pix: mask.Pix[mask.PixOffset(from.X, from.Y):], Stride: mask.Stride, Rect: at}, s.ink)
		}
		dot.X += advance
		before = r
	}
}

// writeLeft draws the text so that it ends at x.
func (c canvas) writeLeft(x, baseline int, text string, s style) {
	c.write(x-s.width(text), baseline, text, s)
}

// dollars returns an amount as text, such as $1,234 or $1,234.50.
func dollars(amount float64, cents bool) string {
	decimals := 0
	if cents {
		decimals = 2
	}
	text := strconv.FormatFloat(amount, 'f', decimals, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if cents {
		whole += "." + fraction
	}
	return "$" + whole
}
