package edge

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A reading is the values of the metrics at a time, by name and label values: "clients{plain}". What the log sums up
// comes from there, so that it never says otherwise than the metrics.
type reading map[string]map[string]float64

func read(metrics prometheus.Gatherer) (reading, error) {
	families, err := metrics.Gather()
	r := make(reading, len(families))
	for _, family := range families {
		values := make(map[string]float64)
		for _, m := range family.GetMetric() {
			label := ""
			if labels := m.GetLabel(); len(labels) > 0 {
				label = labels[0].GetValue()
			}
			values[label] = m.GetCounter().GetValue() + m.GetGauge().GetValue() // it has one of them
		}
		r[family.GetName()] = values
	}
	return r, err
}

// sum adds up a metric's series.
func (r reading) sum(name string) (total float64) {
	for _, v := range r[name] {
		total += v
	}
	return total
}

// grown is by how much a metric's series have risen since before, those that have; as attributes by label.
func (r reading) grown(before reading, name string) (attrs []any) {
	for _, label := range slices.Sorted(maps.Keys(r[name])) {
		if n := r[name][label] - before[name][label]; n > 0 {
			attrs = append(attrs, slog.Int64(label, int64(n)))
		}
	}
	return attrs
}

// summarise logs what clients did, each Options.LogSummary and when ctx ends.
func (e *Edge) summarise(ctx context.Context) {
	ticker := time.NewTicker(e.opts.LogSummary)
	defer ticker.Stop()
	before := reading{}
	for last := false; !last; {
		select {
		case <-ctx.Done():
			last = true
		case <-ticker.C:
		}
		now, err := read(e.metrics)
		if err != nil {
			e.log.Warn("cannot sum up", "err", err)
			continue
		}
		if attrs := summary(before, now); attrs != nil {
			e.log.Info("clients", attrs...)
		}
		before = now
	}
}

// summary says what clients did between two readings; nil if that was nothing.
func summary(before, now reading) []any {
	const accepted = "sightglass_clients_accepted_total"
	connected := now.sum(accepted) - before.sum(accepted)
	closed := now.grown(before, "sightglass_client_closed_total")
	rejected := now.grown(before, "sightglass_edge_rejected_total")
	if connected == 0 && closed == nil && rejected == nil {
		return nil
	}
	return []any{
		"connected", int64(connected), slog.Group("closed", closed...), slog.Group("rejected", rejected...),
		"now", int64(now.sum("sightglass_clients")),
	}
}
