package price

import (
	"testing"

	"sightglass/ingester/payment"
)

// fill puts a window's worth into an engine: transactions of two amounts in 3 h.
func fill(e *Engine, transactions int) (end int) {
	c := newCrowd(40)
	const seconds = int(windowMinutes)*60 - 60
	for i := range transactions {
		e.Add(second(i*seconds/transactions), c.pay(50_000))
	}
	e.Estimate(second(seconds))
	return seconds
}

func TestEngine_EstimateAllocatesNothing(t *testing.T) {
	e := newEngine(t, Options{})
	end := play(e, newCrowd(41), 0, 600, always(50_000), nil)
	pay := newCrowd(42).pay(50_000)
	e.Estimate(second(end))
	e.Add(second(end), pay)
	e.Estimate(second(end))
	if n := testing.AllocsPerRun(20, func() {
		e.Add(second(end), pay)
		e.Remove(second(end), pay)
		e.Estimate(second(end))
	}); n > 0 {
		t.Errorf("%v allocations a tick", n)
	}
	if n := testing.AllocsPerRun(20, func() {
		end += 60
		e.Estimate(second(end))
	}); n > 0 {
		t.Errorf("%v allocations a minute", n)
	}
}

// BenchmarkAdd is a transaction's evidence, on top of a full window.
func BenchmarkAdd(b *testing.B) {
	e := newEngine(b, Options{})
	end := fill(e, 100_000)
	e.Estimate(second(end)) // opens the minute, so that Add weighs at once
	c := newCrowd(43)
	all := make([][]payment.Satoshi, 10_000)
	for i := range all {
		all[i] = c.pay(50_000)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if i%1000 == 0 { // or the piles of the minute are soon full
			end += 60
			e.Estimate(second(end))
		}
		e.Add(second(end), all[i%len(all)])
		i++
	}
}

// BenchmarkEstimate is a tick with 100,000 transactions in the window, of which
// a few are new.
func BenchmarkEstimate(b *testing.B) {
	e := newEngine(b, Options{})
	end := fill(e, 100_000)
	c := newCrowd(44)
	b.ReportAllocs()
	for b.Loop() {
		e.Add(second(end), c.pay(50_000))
		e.Estimate(second(end))
	}
}

// BenchmarkMinute is the tick that closes a minute.
func BenchmarkMinute(b *testing.B) {
	e := newEngine(b, Options{})
	end := fill(e, 100_000)
	c := newCrowd(45)
	b.ReportAllocs()
	for b.Loop() {
		end += 60
		for range 600 {
			e.Add(second(end), c.pay(50_000))
		}
		e.Estimate(second(end))
	}
}

// BenchmarkEngine_Evidence is what a tick takes longer once a minute, with 60,000 amounts in the window.
func BenchmarkEngine_Evidence(b *testing.B) {
	e := newEngine(b, Options{})
	at := second(fill(e, 30_000))
	size := 0
	b.ReportAllocs()
	for b.Loop() {
		size = len(e.Evidence(at).AppendJSON(nil))
	}
	b.ReportMetric(float64(size), "bytes")
}
