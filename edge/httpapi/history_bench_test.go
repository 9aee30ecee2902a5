package httpapi

import (
	"testing"

	"sightglass/shared/contract"
)

// BenchmarkHistoryResponse measures an edge's cost of a changed history, once for all requests: building and
// compressing a day.
func BenchmarkHistoryResponse(b *testing.B) {
	entries := make([]contract.HistoryEntry, 24*60*60/contract.HistorySlot)
	for i := range entries {
		wobble := float64(i*7919%1000) / 100
		entries[i] = contract.HistoryEntry{
			Timestamp: 1556771670 + int64(i)*contract.HistorySlot, Price: 5313 + wobble, Low: 5301 + wobble, High: 5325 - wobble, Confidence: 0.9,
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		a := historyResponse(entries, contract.HistorySlot)
		b.ReportMetric(float64(len(a.body)), "B/plain")
		b.ReportMetric(float64(len(a.gzip())), "B/gzip")
	}
}
