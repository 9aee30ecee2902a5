package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightglass/edge/web"
	"sightglass/shared/contract"
	"sightglass/shared/history"
)

var at = time.Date(2026, 11, 27, 14, 2, 30, 0, time.UTC)

// snapshotOf returns a live snapshot with a price in USD.
func snapshotOf(price float64) *contract.Snapshot {
	return &contract.Snapshot{
		Price: price, Low: price * 0.996, High: price * 1.004, Confidence: 0.982, Status: contract.Live, Timestamp: float64(at.Unix()),
	}
}

func with(s *contract.Snapshot, change func(s *contract.Snapshot)) *contract.Snapshot {
	change(s)
	return s
}

// historyOf returns a history of the last seconds that swings around a price by an amount in USD.
func historyOf(price, swing float64, seconds, step int64) (all []history.Entry) {
	for t := at.Unix() - seconds; t <= at.Unix(); t += step {
		x := float64(t) / 4000
		p := price + swing*(0.6*math.Sin(x)+0.3*math.Sin(3.3*x)+0.1*math.Sin(17*x))
		all = append(all, history.Entry{Timestamp: t, Price: p, Low: p * 0.997, High: p * 1.002, Confidence: 0.9})
	}
	return all
}

// cut removes the entries from one time to another, in seconds before now.
func cut(all []history.Entry, from, to int64) (rest []history.Entry) {
	for _, e := range all {
		if age := at.Unix() - e.Timestamp; age > from || age < to {
			rest = append(rest, e)
		}
	}
	return rest
}

var long = strings.Repeat("A demo: transactions of 2 May 2019 are replayed, so this is not the price of today. ", 3)[:200]

// pictures are what can be drawn. `go test -run TestDraw -artifacts -outputdir DIR ./picture` keeps the pictures.
var pictures = map[string]Now{
	"live": {Snapshot: snapshotOf(116754.75), History: historyOf(115900, 1400, history.Day, 300), Step: 300},
	"a demo": {
		Snapshot: snapshotOf(5312.4), History: historyOf(5300, 40, 3*3600, 60), Step: 60,
		Notice: "A demonstration: transactions of 2 May 2019, replayed. The price is that of then.",
	},
	"a long notice":   {Snapshot: snapshotOf(5312.4), History: historyOf(5300, 40, history.Day, 300), Step: 300, Notice: long},
	"one long word":   {Snapshot: snapshotOf(5312.4), Notice: strings.Repeat("long", 50)},
	"a million":       {Snapshot: snapshotOf(1234567.89), History: historyOf(1234567.89, 9000, history.Day, 300), Step: 300},
	"a small range":   {Snapshot: snapshotOf(1234567.89), History: historyOf(1234567.89, 0.04, history.Day, 300), Step: 300},
	"a level line":    {Snapshot: snapshotOf(116754.75), History: historyOf(116754.75, 0, 5*3600, 60), Step: 60},
	"two minutes":     {Snapshot: snapshotOf(116754.75), History: historyOf(116754.75, 300, 120, 10), Step: 10},
	"no history":      {Snapshot: snapshotOf(116754.75), Step: 10},
	"one entry":       {Snapshot: snapshotOf(116754.75), History: historyOf(116754.75, 0, 0, 10), Step: 10},
	"an old history":  {Snapshot: snapshotOf(116754.75), History: []history.Entry{{Timestamp: 1, Price: 1}, {Timestamp: 2, Price: 2}}, Step: 300},
	"gaps":            {Snapshot: snapshotOf(116754.75), History: cut(cut(historyOf(115900, 1400, history.Day, 300), 15*3600, 11*3600), 3600, -1), Step: 300},
	"a wide interval": {Snapshot: snapshotOf(116754.75), History: append([]history.Entry{{Timestamp: at.Unix() - history.Day + 300, Price: 114000, Low: 2000, High: 900000}}, historyOf(115900, 1400, history.Day-600, 300)...), Step: 300},
	"cents":           {Snapshot: snapshotOf(0.05), History: historyOf(0.05, 0.01, history.Day, 300), Step: 300},
	"the most":        {Snapshot: snapshotOf(contract.MaxUSD), History: historyOf(contract.MaxUSD/2, contract.MaxUSD/2, history.Day, 300), Step: 300},
	"contested": {
		Snapshot: with(snapshotOf(116754.75), func(s *contract.Snapshot) { s.Status, s.Confidence = contract.Contested, 0.8 }),
		History:  historyOf(115900, 1400, history.Day, 300), Step: 300,
	},
	"unsure": {
		Snapshot: with(snapshotOf(1234567.89), func(s *contract.Snapshot) {
			s.Status, s.Confidence, s.Low, s.High = contract.Contested, 0.55, 1100000, 1500000
		}),
		History: historyOf(1234567, 14000, history.Day, 300), Step: 300,
	},
	"warming": {
		Snapshot: with(snapshotOf(116754.75), func(s *contract.Snapshot) { s.Status, s.Confidence = contract.Warming, 0.3 }),
		History:  historyOf(115900, 1400, 1800, 10), Step: 10,
	},
	"no price": {
		Snapshot: &contract.Snapshot{Status: contract.Warming, Confidence: 0.1},
	},
	"nothing": {},
	"stale": {
		Snapshot: with(snapshotOf(116754.75), func(s *contract.Snapshot) { s.Status, s.Timestamp = contract.Stale, s.Timestamp-3600 }),
		History:  cut(historyOf(115900, 1400, history.Day, 300), 3600, -1), Step: 300,
	},
	"stale since yesterday": {
		Snapshot: with(snapshotOf(116754.75), func(s *contract.Snapshot) { s.Status, s.Timestamp = contract.Stale, s.Timestamp-86400 }),
	},
	"stale without a price": {Snapshot: &contract.Snapshot{Status: contract.Stale}},
	"a later status":        {Snapshot: with(snapshotOf(116754.75), func(s *contract.Snapshot) { s.Status = "half_open" })},
}

func TestDraw_SizeAndBytes(t *testing.T) {
	dir := t.ArtifactDir()
	for name, n := range pictures {
		t.Run(name, func(t *testing.T) {
			n.At = at
			body := Draw(n)
			t.Logf("%d bytes", len(body))
			if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".png"), body, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := decoded(t, body).Bounds(); got != image.Rect(0, 0, Width, Height) {
				t.Errorf("got %v, want %d x %d", got, Width, Height)
			}
		})
	}
}

func decoded(t *testing.T, body []byte) image.Image {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func BenchmarkDraw(b *testing.B) {
	n := pictures["a long notice"]
	n.At = at
	size := 0
	for b.Loop() {
		size = len(Draw(n))
	}
	b.ReportMetric(float64(size), "png-bytes")
}

func TestDraw_Words(t *testing.T) {
	for name, want := range map[string]words{
		"live":      {large: "$116,754.75", small: "90% interval $116,288 – $117,222, confidence 98.2%", state: "live", live: true},
		"a million": {large: "$1,234,567.89", small: "90% interval $1,229,630 – $1,239,506, confidence 98.2%", state: "live", live: true},
		"contested": {
			large: "$116,754.75", small: "90% interval $116,288 – $117,222, confidence 80.0%",
			state: "contested: round amounts are being paid at a second price",
		},
		"unsure": {
			large: "No sure price", small: "maybe $1,234,568, 90% interval $1,100,000 – $1,500,000, confidence 55.0%",
			state: "contested: round amounts are being paid at a second price", unsure: true,
		},
		"warming": {
			large: "No sure price", small: "maybe $116,755, 90% interval $116,288 – $117,222, confidence 30.0%",
			state: "warming up: too little evidence for a price", unsure: true,
		},
		"no price":              {large: "No price yet", state: "warming up: too little evidence for a price", unsure: true},
		"nothing":               {large: "No price yet", state: "nothing received yet", unsure: true},
		"stale":                 {large: "$116,754.75", small: "90% interval $116,288 – $117,222, confidence 98.2%", state: "stale: last price 13:02 UTC", old: true},
		"stale since yesterday": {large: "$116,754.75", small: "90% interval $116,288 – $117,222, confidence 98.2%", state: "stale: last price 26 Nov 2026, 14:02 UTC", old: true},
		"stale without a price": {large: "No price yet", state: "stale: no news from the ingester", old: true, unsure: true},
		"a later status":        {large: "$116,754.75", small: "90% interval $116,288 – $117,222, confidence 98.2%", state: "live", live: true},
	} {
		t.Run(name, func(t *testing.T) {
			n := pictures[name]
			n.At = at
			if got := wordsOf(n); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestDraw_ReplayIsNotLive: a price of recorded transactions is not that of now.
func TestDraw_ReplayIsNotLive(t *testing.T) {
	got := wordsOf(Now{Snapshot: snapshotOf(100), Replay: true, At: at})
	if got.live || !got.old || !strings.HasPrefix(got.state, "replay: ") {
		t.Errorf("got %+v, want a replay's price, drawn as an old one", got)
	}
}

// TestShorten_LongestThatFits compares the result with that of trying every length.
func TestShorten_LongestThatFits(t *testing.T) {
	const text = "Transactions of a block of 2 May 2019, replayed. The price is that day's, not today's."
	s := styled(bold(), noticeSize, notice)
	for width := 0; width < s.width(text)+20; width += 37 {
		want := text
		for n := len(text) - 1; s.width(want) > width && n >= 0; n-- {
			want = strings.TrimRight(text[:n], " ") + "…"
		}
		if got := s.shorten(text, width); got != want {
			t.Errorf("%d pixels: got %q, want %q", width, got, want)
		}
	}
	if got := s.shorten(strings.Repeat("m", 100_000), 300); s.width(got) > 300 || len(got) < 10 {
		t.Errorf("got %q of a long text, want what fits", got)
	}
}

// TestDraw_NoNumberUnlessSure: a warming price is confident of nothing, and at 0.75 a price is sure.
func TestDraw_NoNumberUnlessSure(t *testing.T) {
	for _, status := range []contract.Status{contract.Live, contract.Contested, contract.Stale} {
		for _, c := range []struct {
			confidence float64
			unsure     bool
		}{{0.749, true}, {0.75, false}} {
			s := with(snapshotOf(100), func(s *contract.Snapshot) { s.Status, s.Confidence = status, c.confidence })
			if got := wordsOf(Now{Snapshot: s, At: at}); got.unsure != c.unsure || strings.Contains(got.large, "100") == c.unsure {
				t.Errorf("%s at %v: got %q, unsure %v, want unsure %v", status, c.confidence, got.large, got.unsure, c.unsure)
			}
		}
	}
}

func TestDraw_FitsNotice(t *testing.T) {
	const width = Width - 2*margin
	s := styled(bold(), noticeSize, notice)
	for _, c := range []struct {
		notice string
		lines  int
		cut    bool
	}{
		{"", 0, false},
		{" \n ", 0, false},
		{"Transactions of 2 May 2019,\nreplayed.", 1, false},
		{long[:110], 2, false},
		{long, 2, true},
		{strings.Repeat("long", 100), 1, true},
		{"short " + strings.Repeat("long", 100), 2, true},
	} {
		lines := s.wrap(c.notice, width, 2)
		if len(lines) != c.lines {
			t.Errorf("%.40q: got %d lines %q, want %d", c.notice, len(lines), lines, c.lines)
		}
		for _, l := range lines {
			if got := s.width(l); got > width {
				t.Errorf("%q: got %d pixels, want at most %d", l, got, width)
			}
		}
		if got := strings.HasSuffix(strings.Join(lines, ""), "…"); got != c.cut {
			t.Errorf("%.40q: got cut %v in %q, want %v", c.notice, got, lines, c.cut)
		}
	}
}

// TestDraw_LineHasGaps: the columns of a gap have no line, and those beside it do.
func TestDraw_LineHasGaps(t *testing.T) {
	g := chart{step: 300, entries: cut(historyOf(100, 1, history.Day, 300), 15*3600, 11*3600)}
	runs := g.runs()
	if len(runs) != 2 || len(runs[0])+len(runs[1]) != len(g.entries) {
		t.Fatalf("got %d runs, want 2 with all entries", len(runs))
	}
	if got := runs[1][0].Timestamp - runs[0][len(runs[0])-1].Timestamp; got < 4*3600 {
		t.Errorf("got a gap of %d s, want that of 4 hours", got)
	}
}

// TestDraw_ColoursAreThePages: they are those of palette.css, in the light theme.
func TestDraw_ColoursAreThePages(t *testing.T) {
	css := static(t, "palette.css")
	for name, c := range map[string]color.NRGBA{
		"paper": inks[text].background, "ink": inks[text].colour, "soft": inks[soft].colour, "grid": inks[grid].colour,
		"accent": inks[accent].colour, "warn": inks[warn].colour, "warn-paper": inks[noticeBack].colour,
	} {
		if want := fmt.Sprintf("  --%s: light-dark(#%02x%02x%02x, ", name, c.R, c.G, c.B); !strings.Contains(css, want) {
			t.Errorf("got another %s in palette.css, want %s", name, want)
		}
	}
	if want := "--band-strong: light-dark(#0b676340, "; !strings.Contains(css, want) {
		t.Errorf("got another band in palette.css, want %s", want)
	}
}

// static returns a file that the page loads.
func static(t *testing.T, name string) string {
	t.Helper()
	body, err := fs.ReadFile(web.Files(), "static/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
