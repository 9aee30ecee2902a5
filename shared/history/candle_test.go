package history

import (
	"slices"
	"testing"
)

// exampleCandle is the candle in testdata/candle.json.
var exampleCandle = Candle{Start: 1556769600, Open: 5300.1, High: 5330, Low: 5299.95, Close: 5313.57, Confidence: 0.987, Blocks: 6, Height: 574200}

func TestCandle_MatchesGoldenFile(t *testing.T) {
	matchesGolden(t, "candle.json", exampleCandle, DecodeCandle)
}

func TestCandle_DecodeRejectsInvalid(t *testing.T) {
	rejects(t, DecodeCandle, map[string]struct{ data, want string }{
		"an entry":            {`[1,2,3,4,0.5]`, "confidence"},
		"start a fraction":    {`[1.5,2,3,1,2,0.5,0,0]`, "timestamp: got 1.5, want a whole number"},
		"open negative":       {`[1,-2,3,1,2,0.5,0,0]`, "open: got -2"},
		"low above open":      {`[1,2,3,2.5,3,0.5,0,0]`, "got low 2.5 and high 3, want open 2 and close 3 between them"},
		"low above close":     {`[1,3,3,2.5,2,0.5,0,0]`, "got low 2.5"},
		"high below open":     {`[1,4,3,2,2,0.5,0,0]`, "high 3"},
		"high below close":    {`[1,2,3,2,4,0.5,0,0]`, "high 3"},
		"confidence over 1":   {`[1,2,3,1,2,1.5,0,0]`, "confidence: got 1.5"},
		"blocks a fraction":   {`[1,2,3,1,2,0.5,0.5,0]`, "blocks: got 0.5"},
		"height of a text":    {`[1,2,3,1,2,0.5,0,"x"]`, "height"},
		"no height of blocks": {`[1,2,3,1,2,0.5,6]`, "height"},
	})
}

func FuzzCandle_Decode(f *testing.F) {
	fuzzDecode(f, golden(f, "candle.json"), DecodeCandle, func(c Candle) []float64 {
		return []float64{float64(c.Start), c.Open, c.High, c.Low, c.Close, c.Confidence, float64(c.Blocks), float64(c.Height)}
	})
}

// block returns a block with a confidence of 0.5.
func block(height, at int64, price float64) Block {
	return Block{Entry: Entry{Timestamp: at, Price: price, Low: price, High: price, Confidence: 0.5}, Height: height}
}

func expectCandles(t *testing.T, got []Candle, want ...Candle) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCandlesOfBlocks_Hours(t *testing.T) {
	const h = 1556769600 // an hour's start
	for name, c := range map[string]struct {
		blocks []Block
		want   []Candle
	}{
		"none": {nil, nil},
		"one":  {[]Block{block(7, h+59, 5)}, []Candle{{h, 5, 5, 5, 5, 0.5, 1, 7}}},
		"bounds of an hour": {
			[]Block{block(7, h, 5), block(8, h+Hour-1, 6), block(9, h+Hour, 7)},
			[]Candle{{h, 5, 6, 5, 6, 0.5, 2, 8}, {h + Hour, 7, 7, 7, 7, 0.5, 1, 9}},
		},
		"prices up and down": {
			[]Block{block(1, h+1, 5), block(2, h+2, 9), block(3, h+3, 2), block(4, h+4, 6)},
			[]Candle{{h, 5, 9, 2, 6, 0.5, 4, 4}},
		},
		"times step back": { // the heights' order decides what opens and what closes
			[]Block{block(1, h+Hour+5, 5), block(2, h+30, 6), block(3, h+20, 7), block(4, h+Hour+1, 8)},
			[]Candle{{h, 6, 7, 6, 7, 0.5, 2, 3}, {h + Hour, 5, 8, 5, 8, 0.5, 2, 4}},
		},
		"hours without blocks": {
			[]Block{block(1, h, 5), block(2, h+5*Hour, 6)},
			[]Candle{{h, 5, 5, 5, 5, 0.5, 1, 1}, {h + 5*Hour, 6, 6, 6, 6, 0.5, 1, 2}},
		},
		"blocks without a price": {
			[]Block{block(1, h, 0), block(2, h+1, 6), block(3, h+2, 0), block(4, h+Hour, 0)},
			[]Candle{{h, 6, 6, 6, 6, 0.5, 1, 2}},
		},
	} {
		t.Run(name, func(t *testing.T) { expectCandles(t, CandlesOfBlocks(c.blocks, Hour), c.want...) })
	}
}

func TestCandlesOfEntries_HaveNoBlocks(t *testing.T) {
	expectCandles(t, CandlesOfEntries([]Entry{
		{Timestamp: 3600, Price: 5, Confidence: 0.5}, {Timestamp: 3610, Price: 7, Confidence: 0.75}, {Timestamp: 3620},
		{Timestamp: 3630, Price: 6, Confidence: 1}, {Timestamp: 7200, Price: 8, Confidence: 0.25},
	}, Hour),
		Candle{Start: 3600, Open: 5, High: 7, Low: 5, Close: 6, Confidence: 0.75},
		Candle{Start: 7200, Open: 8, High: 8, Low: 8, Close: 8, Confidence: 0.25})
}

// TestCombine_WeighsByBlocks: an hour of entries weighs as much as one block.
func TestCombine_WeighsByBlocks(t *testing.T) {
	hours := []Candle{
		{Day - Hour, 3, 3, 3, 3, 0.25, 1, 99},
		{Day, 5, 7, 4, 6, 0.5, 6, 105},
		{Day + 5*Hour, 6, 9, 5, 8, 1, 2, 107},
		{Day + 23*Hour, 8, 8, 1, 2, 0, 0, 0},
		{2 * Day, 2, 3, 1, 3, 0.125, 0, 0},
	}
	expectCandles(t, Combine(hours, Day),
		Candle{0, 3, 3, 3, 3, 0.25, 1, 99},
		Candle{Day, 5, 9, 1, 2, (6*0.5 + 2*1 + 0) / 9, 8, 107},
		Candle{2 * Day, 2, 3, 1, 3, 0.125, 0, 0})
}

// TestCombine_EqualsDaysOfBlocks: hours lose nothing that a day needs.
func TestCombine_EqualsDaysOfBlocks(t *testing.T) {
	var blocks []Block
	for i := range int64(1000) {
		b := block(i, 1556769600+i*537, float64(5000+i*i%97))
		b.Confidence = float64(i%8) / 8
		blocks = append(blocks, b)
	}
	got, want := Combine(CandlesOfBlocks(blocks, Hour), Day), CandlesOfBlocks(blocks, Day)
	if len(got) != len(want) || len(got) < 6 {
		t.Fatalf("got %d days, want %d", len(got), len(want))
	}
	for i := range got {
		if string(got[i].AppendJSON(nil)) != string(want[i].AppendJSON(nil)) {
			t.Errorf("got %s, want %s", got[i].AppendJSON(nil), want[i].AppendJSON(nil))
		}
	}
}
