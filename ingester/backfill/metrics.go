package backfill

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics of all backfills of a program.
type Metrics struct {
	blocks, skipped, failures prometheus.Counter
	height, remaining         prometheus.Gauge
}

// NewMetrics returns metrics that it registers with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	with := promauto.With(reg)
	return &Metrics{
		blocks:    with.NewCounter(prometheus.CounterOpts{Name: "sightglass_backfill_blocks_total", Help: "Blocks read for the history."}),
		skipped:   with.NewCounter(prometheus.CounterOpts{Name: "sightglass_backfill_skipped_blocks_total", Help: "Blocks that could not be read; the history has their price from the blocks around."}),
		failures:  with.NewCounter(prometheus.CounterOpts{Name: "sightglass_backfill_failures_total", Help: "Times that adding the node's blocks to the history failed; it is tried again each minute."}),
		height:    with.NewGauge(prometheus.GaugeOpts{Name: "sightglass_backfill_height", Help: "Height of the newest block in the history, as far as this program has written it; 0 before it has."}),
		remaining: with.NewGauge(prometheus.GaugeOpts{Name: "sightglass_backfill_remaining_blocks", Help: "Blocks that the current backfill has still to write."}),
	}
}

// Failed counts a run that failed.
func (m *Metrics) Failed() { m.failures.Inc() }
