package daemon

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Reading holds the values of counters and gauges at one time, by metric and by the value of its first label; "" for
// a metric without labels. The log's summaries are made from readings, so they cannot disagree with the metrics.
type Reading map[string]map[string]float64

// Read gathers the metrics. With an error it returns the metrics that could be gathered.
func Read(metrics prometheus.Gatherer) (Reading, error) {
	families, err := metrics.Gather()
	r := make(Reading, len(families))
	for _, family := range families {
		values := make(map[string]float64)
		for _, m := range family.GetMetric() {
			label := ""
			if labels := m.GetLabel(); len(labels) > 0 {
				label = labels[0].GetValue()
			}
			values[label] += m.GetCounter().GetValue() + m.GetGauge().GetValue() // a metric has one of them
		}
		r[family.GetName()] = values
	}
	return r, err
}

// Sum adds up the series of a metric.
func (r Reading) Sum(name string) (sum float64) {
	for _, v := range r[name] {
		sum += v
	}
	return sum
}

// Growth returns the increase of a metric's sum since before.
func (r Reading) Growth(before Reading, name string) int64 {
	return int64(r.Sum(name) - before.Sum(name))
}

// GrowthByLabel returns an attribute for each label value whose series has increased since before, in the order of the
// values; nil if none has.
func (r Reading) GrowthByLabel(before Reading, name string) (attrs []any) {
	for _, label := range slices.Sorted(maps.Keys(r[name])) {
		if n := r[name][label] - before[name][label]; n > 0 {
			attrs = append(attrs, slog.Int64(label, int64(n)))
		}
	}
	return attrs
}

// Summarise reads the metrics once per interval, and once more when ctx ends. Each time it logs the message with the
// attributes that summary returns for the time between two readings; nothing if they are nil.
func Summarise(ctx context.Context, interval time.Duration, metrics prometheus.Gatherer, log *slog.Logger, message string, summary func(before, now Reading) []any) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	before := Reading{}
	for last := false; !last; {
		select {
		case <-ctx.Done():
			last = true
		case <-ticker.C:
		}
		now, err := Read(metrics)
		if err != nil {
			log.Warn("cannot sum up", "err", err)
			continue
		}
		if attrs := summary(before, now); attrs != nil {
			log.Info(message, attrs...)
		}
		before = now
	}
}
