package history

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
)

// A Candle sums up the prices of an hour or a day. The prices are those of blocks, or of the recent series' entries where no
// block of the hour is known. A day may have hours of both kinds.
type Candle struct {
	Start                  int64   // unix seconds, a multiple of its length
	Open, High, Low, Close float64 // the first, highest, lowest and last price, USD per bitcoin, 2 decimals
	Confidence             float64 // mean of the prices' confidences, 3 decimals; in a day, an hour of entries has the weight of one block
	Blocks                 int64   // number of blocks with a price; 0: all prices are the recent series' entries
	Height                 int64   // the highest of these blocks; 0 without blocks
}

// AppendJSON appends the candle's JSON to dst, [start,open,high,low,close,confidence,blocks,height], and returns the
// extended buffer. Numbers must be finite.
func (c Candle) AppendJSON(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, '['), c.Start, 10)
	for _, usd := range [...]float64{c.Open, c.High, c.Low, c.Close} {
		dst = appendUSD(dst, usd)
	}
	dst = appendWhole(appendProbability(dst, c.Confidence), c.Blocks)
	return append(appendWhole(dst, c.Height), ']')
}

var candleFields = []field{
	timeField, usdField("open"), usdField("high"), usdField("low"), usdField("close"), confidenceField,
	{"blocks", maxHeight}, {"height", maxHeight},
}

// DecodeCandle decodes one candle. Errors wrap ErrInvalid; one of them is that the lowest price is above another one.
func DecodeCandle(data []byte) (Candle, error) {
	var v [8]float64
	if err := decode(data, candleFields, v[:]); err != nil {
		return Candle{}, err
	}
	c := Candle{
		Start: int64(v[0]), Open: v[1], High: v[2], Low: v[3], Close: v[4], Confidence: v[5], Blocks: int64(v[6]), Height: int64(v[7]),
	}
	if c.Low > min(c.Open, c.Close) || c.High < max(c.Open, c.Close) {
		return Candle{}, fmt.Errorf("%w: got low %v and high %v, want open %v and close %v between them", ErrInvalid, c.Low, c.High, c.Open, c.Close)
	}
	return c, nil
}

// CandlesOfBlocks returns the candles of blocks, which are in the order of their heights. Each is length seconds long; periods
// without a price have none. Blocks without a price are left out. A header's time may be up to two hours off, so the blocks'
// times need not be in order; the candles are. A candle opens with its lowest block, and closes with its highest.
func CandlesOfBlocks(blocks []Block, length int64) []Candle {
	return candles(length, func(yield func(Candle, int64) bool) {
		for _, b := range blocks {
			if b.Price > 0 && !yield(single(b.Entry, 1, b.Height), 1) {
				return
			}
		}
	})
}

// CandlesOfEntries returns the candles of entries, which are in the order of their times, like CandlesOfBlocks.
func CandlesOfEntries(entries []Entry, length int64) []Candle {
	return candles(length, func(yield func(Candle, int64) bool) {
		for _, e := range entries {
			if e.Price > 0 && !yield(single(e, 0, 0), 1) {
				return
			}
		}
	})
}

// Combine returns the candles of shorter ones, which are in the order of their times, like CandlesOfBlocks.
func Combine(shorter []Candle, length int64) []Candle {
	return candles(length, func(yield func(Candle, int64) bool) {
		for _, c := range shorter {
			if !yield(c, max(c.Blocks, 1)) {
				return
			}
		}
	})
}

func single(e Entry, blocks, height int64) Candle {
	return Candle{
		Start: e.Timestamp, Open: e.Price, High: e.Price, Low: e.Price, Close: e.Price, Confidence: e.Confidence,
		Blocks: blocks, Height: height,
	}
}

// candles combines parts, each of which comes with the weight of its confidence.
func candles(length int64, parts iter.Seq2[Candle, int64]) []Candle {
	byStart := make(map[int64]*Candle)
	weights := make(map[int64]int64)
	for part, weight := range parts {
		start := part.Start / length * length
		c := byStart[start]
		if c == nil {
			part.Start = start
			byStart[start], weights[start] = &part, weight
			continue
		}
		c.High, c.Low, c.Close = max(c.High, part.High), min(c.Low, part.Low), part.Close
		c.Blocks, c.Height = c.Blocks+part.Blocks, max(c.Height, part.Height)
		weights[start] += weight
		c.Confidence += (part.Confidence - c.Confidence) * float64(weight) / float64(weights[start])
	}
	all := make([]Candle, 0, len(byStart))
	for _, start := range slices.Sorted(maps.Keys(byStart)) {
		all = append(all, *byStart[start])
	}
	return all
}
