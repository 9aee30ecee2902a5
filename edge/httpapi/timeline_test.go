package httpapi

import (
	"fmt"
	"slices"
	"testing"

	"sightglass/shared/history"
)

// hour is the start of an hour, and of a day.
const hour = 1556755200

func entry(t int64, price float64) history.Entry {
	return history.Entry{Timestamp: t, Price: price, Low: price - 1, High: price + 1, Confidence: 0.9}
}

func block(height, t int64, price float64) history.Block {
	return history.Block{Entry: entry(t, price), Height: height}
}

func candle(start int64, open, last float64, blocks, height int64) history.Candle {
	return history.Candle{
		Start: start, Open: open, High: max(open, last), Low: min(open, last), Close: last, Confidence: 0.5, Blocks: blocks, Height: height,
	}
}

// merged returns the timeline of four series.
func merged(recent []history.Entry, blocks []history.Block, hours, days []history.Candle) timeline {
	return merge(parts{
		recent: &cached[[]history.Entry]{value: recent}, blocks: &cached[[]history.Block]{value: blocks},
		hours: &cached[[]history.Candle]{value: hours}, days: &cached[[]history.Candle]{value: days},
	})
}

func TestTimeline_HasEachTimeInTheFinestSeries(t *testing.T) {
	const day, week = history.Day, 7 * history.Day
	for name, c := range map[string]struct {
		recent      []history.Entry
		blocks      []history.Block
		hours, days []history.Candle
		want        []float64 // prices in the order of time
	}{
		"nothing": {},
		"entries hide blocks within ten minutes": {
			recent: []history.Entry{entry(hour+1000, 1), entry(hour+1010, 2)},
			blocks: []history.Block{block(1, hour+399, 3), block(2, hour+400, 4), block(3, hour+1005, 5), block(4, hour+1610, 6), block(5, hour+1611, 7)},
			want:   []float64{3, 1, 2, 7},
		},
		"blocks are in the order of their times": {
			blocks: []history.Block{block(1, hour+200, 1), block(2, hour+100, 2), block(3, hour+300, 3)},
			want:   []float64{2, 1, 3},
		},
		"a block without a price is left out": {
			blocks: []history.Block{block(1, hour, 0), block(2, hour+100, 2)},
			hours:  []history.Candle{candle(hour-3600, 1, 1, 1, 0)},
			want:   []float64{1, 2},
		},
		"anything in an hour hides its candle": {
			recent: []history.Entry{entry(hour+7199, 1)},
			blocks: []history.Block{block(1, hour, 2)},
			hours:  []history.Candle{candle(hour-3600, 3, 30, 1, 0), candle(hour, 4, 40, 1, 1), candle(hour+3600, 5, 50, 0, 0), candle(hour+7200, 6, 60, 0, 0)},
			want:   []float64{3, 2, 1, 6},
		},
		"anything in a day hides its candle": {
			recent: []history.Entry{entry(hour+day, 1)},
			hours:  []history.Candle{candle(hour-3600, 2, 20, 1, 0)},
			days:   []history.Candle{candle(hour-week, 3, 30, 1, 0), candle(hour-day, 4, 40, 1, 0), candle(hour, 5, 50, 1, 0), candle(hour+day, 6, 60, 1, 0)},
			want:   []float64{3, 2, 5, 1},
		},
		"all four in order": {
			recent: []history.Entry{entry(hour+week, 1)},
			blocks: []history.Block{block(1, hour+day, 2)},
			hours:  []history.Candle{candle(hour, 3, 30, 1, 0)},
			days:   []history.Candle{candle(hour-day, 4, 40, 1, 0)},
			want:   []float64{4, 3, 2, 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			all := merged(c.recent, c.blocks, c.hours, c.days)
			var prices []float64
			for i, e := range all.rows {
				prices = append(prices, e.Price)
				if i > 0 && e.Timestamp < all.rows[i-1].Timestamp {
					t.Errorf("got %d after %d, want rows in the order of their times", e.Timestamp, all.rows[i-1].Timestamp)
				}
			}
			if !slices.Equal(prices, c.want) {
				t.Errorf("got %v, want %v", prices, c.want)
			}
		})
	}
}

func TestTimeline_StepIsRaised(t *testing.T) {
	const day, year = history.Day, 365 * history.Day
	for _, c := range []struct{ step, span, want int64 }{
		{10, 0, 10},
		{10, 2000*10 - 1, 10},
		{10, 2000 * 10, 20},
		{10, day, 60}, // not 30, which would give 2,880 points
		{45, 3600, 45},
		{45, day, 45},
		{40, day, 60},
		{10, 30 * day, 1800},
		{10, year, 21600},
		{10, 2000*day - 1, day},
		{10, 2000 * day, 2 * day},
		{10, 17 * year, 4 * day},
		{3 * day, 17 * year, 4 * day},
		{5*day + 1, 17 * year, 5*day + 1},
		{366 * day, 17 * year, 366 * day},
		{10, maxSecond, 6363 * day},
	} {
		t.Run(fmt.Sprint(c.step, " over ", c.span), func(t *testing.T) {
			if got := raise(c.step, 0, c.span); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestTimeline_StepHasItsLastPriceAndWholeRange(t *testing.T) {
	got := thin([]history.Entry{
		{Timestamp: 50, Price: 5, Low: 4, High: 6, Confidence: 0.1},
		{Timestamp: 60, Price: 9, Low: 1, High: 10, Confidence: 0.2},
		{Timestamp: 70, Price: 7, Low: 6, High: 20, Confidence: 0.3},
		{Timestamp: 119, Price: 8, Low: 7, High: 9, Confidence: 0.4},
		{Timestamp: 180, Price: 3, Low: 2, High: 4, Confidence: 0.5},
	}, 60)
	want := []history.Entry{
		{Timestamp: 50, Price: 5, Low: 4, High: 6, Confidence: 0.1},
		{Timestamp: 119, Price: 8, Low: 1, High: 20, Confidence: 0.4},
		{Timestamp: 180, Price: 3, Low: 2, High: 4, Confidence: 0.5},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}
