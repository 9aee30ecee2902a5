package ingester

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sightglass/shared/snapshot"
)

// A reading is the values of the metrics at a time: by name, all series added up, and by name and label values, as in
// "status{live}". What the log sums up comes from there, so that it never says otherwise than the metrics.
type reading map[string]float64

func read(metrics prometheus.Gatherer) (reading, error) {
	families, err := metrics.Gather()
	r := make(reading, len(families))
	for _, family := range families {
		for _, m := range family.GetMetric() {
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() // it has one of them
			r[family.GetName()] += value
			for _, l := range m.GetLabel() {
				r[family.GetName()+"{"+l.GetValue()+"}"] += value
			}
		}
	}
	return r, err
}

// summarise logs what came in and what came of it, each Options.LogSummary and when ctx ends, so that an operator sees
// life.
func (in *Ingester) summarise(ctx context.Context) {
	ticker := time.NewTicker(in.opts.LogSummary)
	defer ticker.Stop()
	before := reading{}
	for last := false; !last; {
		select {
		case <-ctx.Done():
			last = true
		case <-ticker.C:
		}
		now, err := read(in.metrics)
		if err != nil {
			in.log.Warn("cannot sum up", "err", err)
			continue
		}
		in.log.Info("price", summary(before, now)...)
		before = now
	}
}

// summary says where the price stands, and what came and was lost between two readings.
func summary(before, now reading) []any {
	grown := func(name string) int64 { return int64(now[name] - before[name]) }
	status := snapshot.Warming
	if now["sightglass_status{live}"] == 1 {
		status = snapshot.Live
	}
	return []any{
		"price", now["sightglass_price_usd"], "low", now["sightglass_price_low_usd"], "high", now["sightglass_price_high_usd"],
		"confidence", now["sightglass_confidence_ratio"], "status", status,
		"leader", int64(now["sightglass_leader"]),
		"outputs", int64(now["sightglass_evidence_outputs"]),
		"received", grown("sightglass_transactions_received_total"), "filtered", grown("sightglass_transactions_filtered_total"),
		"published", grown("sightglass_publish_snapshots_total"), "failed", grown("sightglass_publish_failures_total"),
		"missed", grown("sightglass_node_missed_messages_total"), "resyncs", grown("sightglass_node_resyncs_total"),
	}
}
