package httpapi

import (
	"testing"

	"sightglass/shared/history"
)

// BenchmarkHistoryResponse measures an edge's cost of a changed history, once for all requests: building and
// compressing a day.
func BenchmarkHistoryResponse(b *testing.B) {
	entries := make([]history.Entry, 24*60*60/history.Slot)
	for i := range entries {
		wobble := float64(i*7919%1000) / 100
		entries[i] = history.Entry{
			Timestamp: 1556771670 + int64(i)*history.Slot, Price: 5313 + wobble, Low: 5301 + wobble, High: 5325 - wobble, Confidence: 0.9,
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		a := historyResponse(entries, history.Slot)
		b.ReportMetric(float64(len(a.body)), "B/plain")
		b.ReportMetric(float64(len(a.gzip())), "B/gzip")
	}
}
