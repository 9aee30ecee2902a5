package httpapi

import (
	"runtime"
	"testing"

	"sightglass/shared/history"
)

// full returns the four series at their limits: as long as they ever get.
func full() parts {
	const now = 1785542400 // the first second of a day
	usd := func(i int) float64 { return 60000 + float64(i*7919%100000)/100 }
	at := func(t int64, i int) history.Entry {
		return history.Entry{Timestamp: t, Price: usd(i), Low: usd(i) * 0.99, High: usd(i) * 1.01, Confidence: 0.9}
	}
	recent := make([]history.Entry, history.MaxRecent)
	for i := range recent {
		recent[i] = at(now-int64(len(recent)-i)*history.Slot, i)
	}
	blocks := make([]history.Block, history.MaxBlocks)
	for i := range blocks {
		blocks[i] = history.Block{Entry: at(now-int64(len(blocks)-i)*600, i), Height: int64(900000 + i)}
	}
	candles := func(n, length int64) []history.Candle {
		all := make([]history.Candle, n)
		for i := range all {
			all[i] = history.Candle{
				Start: now - (n-int64(i))*length, Open: usd(i), High: usd(i) * 1.02, Low: usd(i) * 0.98, Close: usd(i + 1),
				Confidence: 0.9, Blocks: length / 600, Height: 900000 + int64(i),
			}
		}
		return all
	}
	return parts{
		recent: &cached[[]history.Entry]{value: recent}, blocks: &cached[[]history.Block]{value: blocks},
		hours: &cached[[]history.Candle]{value: candles(history.MaxHours, history.Hour)},
		days:  &cached[[]history.Candle]{value: candles(history.MaxDays, history.Day)},
	}
}

// BenchmarkHistoryMerge measures an edge's cost of a changed series, at most once in 5 s: the whole timeline again.
func BenchmarkHistoryMerge(b *testing.B) {
	p := full()
	b.ReportAllocs()
	for b.Loop() {
		t := merge(p)
		b.ReportMetric(float64(len(t.rows)), "rows")
	}
}

// BenchmarkHistoryResponse measures an edge's cost of a changed history, once for all requests for a span: building and
// compressing its response, of nearly the maximum of points.
func BenchmarkHistoryResponse(b *testing.B) {
	rows := merge(full()).rows
	for name, from := range map[string]int{"day": len(rows) - history.Day/history.Slot, "everything": 0} {
		b.Run(name, func(b *testing.B) {
			span := rows[from:]
			step := raise(history.Slot, span[0].Timestamp, span[len(span)-1].Timestamp)
			b.ReportAllocs()
			for b.Loop() {
				a := historyResponse(span, step)
				b.ReportMetric(float64(len(a.body)), "B/plain")
				b.ReportMetric(float64(len(a.gzip())), "B/gzip")
			}
			b.ReportMetric(float64(len(thin(span, step))), "points")
		})
	}
}

// BenchmarkHistoryMemory reports what an edge keeps of a full history: the series and the timeline, without responses.
func BenchmarkHistoryMemory(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		t := merge(full())
		b.ReportMetric(float64(heap()-before)/1e6, "MB/kept")
		runtime.KeepAlive(t)
	}
}
