package picture

import (
	"fmt"
	"image"
	"strings"
	"testing"
)

// TestIcon_ShapesAreTheSVGs: the icon is written down twice, in icon.svg and here.
func TestIcon_ShapesAreTheSVGs(t *testing.T) {
	svg := static(t, "icon.svg")
	l := levelLine
	want := []string{
		fmt.Sprintf(`viewBox="0 0 %d %d"`, iconSize, iconSize),
		fmt.Sprintf(`<circle cx="%d" cy="%d" r="%d" fill="#%06x"/>`, iconSize/2, iconSize/2, discRadius, discColour),
		fmt.Sprintf(`<path d="M%v %vh%v" stroke="#fff" stroke-width="%v"/>`, l[0], (l[1]+l[3])/2, l[2]-l[0], l[3]-l[1]),
	}
	path := ""
	for _, s := range squares {
		path += fmt.Sprintf("M%v %vh%vv%vh%vz", s[0], s[1], s[2]-s[0], s[3]-s[1], s[0]-s[2])
	}
	for _, w := range append(want, path) {
		if !strings.Contains(svg, w) {
			t.Errorf("got icon.svg %s\nwant it with %s", svg, w)
		}
	}
}

func TestIcon_SizeAndCorners(t *testing.T) {
	for name, c := range map[string]struct {
		draw   func(side int) []byte
		side   int
		corner uint32 // its opacity
	}{
		"192":          {Icon, 192, 0},
		"512":          {Icon, 512, 0},
		"maskable 512": {MaskableIcon, 512, 0xffff},
		"apple 180":    {MaskableIcon, 180, 0xffff},
	} {
		t.Run(name, func(t *testing.T) {
			body := c.draw(c.side)
			t.Logf("%d bytes", len(body))
			img := decoded(t, body)
			if got := img.Bounds(); got != image.Rect(0, 0, c.side, c.side) {
				t.Fatalf("got %v, want a square of %d", got, c.side)
			}
			if _, _, _, a := img.At(0, 0).RGBA(); a != c.corner {
				t.Errorf("got opacity %#x in the corner, want %#x", a, c.corner)
			}
			if r, g, b, a := img.At(c.side/2, c.side*17/32).RGBA(); r != 0xffff || g != 0xffff || b != 0xffff || a != 0xffff {
				t.Errorf("got %v on the level line, want white", img.At(c.side/2, c.side*17/32))
			}
			if r, g, b, a := img.At(c.side/2, c.side/4).RGBA(); r>>8<<16|g>>8<<8|b>>8 != discColour || a != 0xffff {
				t.Errorf("got %v on the disc, want %#x", img.At(c.side/2, c.side/4), discColour)
			}
		})
	}
}
