package publish

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sightglass/shared/keys"
)

// A pointsWriter tells how writing the points goes.
type pointsWriter struct {
	outage   outage
	failures prometheus.Counter
}

func newPointsWriter(log *slog.Logger, reg prometheus.Registerer) pointsWriter {
	return pointsWriter{
		outage: outage{log: log},
		failures: promauto.With(reg).NewCounter(prometheus.CounterOpts{
			Name: "sightglass_publish_points_failures_total", Help: "Times that Redis did not accept the points' amounts.",
		}),
	}
}

// PutPoints hands over the newest points with their amounts, as package rounds encodes them; they are copied. They go to
// Redis after the next snapshot that is Put, if Redis takes that. PutPoints never blocks.
func (p *Publisher) PutPoints(encoded []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.points = append(p.waiting.points[:0], encoded...)
}

// publishPoints writes points, if there are any. It is no part of the snapshot's transaction: whoever reads them can do
// without, so they must not cost a snapshot. The next ones are the next try.
func (p *Publisher) publishPoints(ctx context.Context, encoded []byte) {
	if len(encoded) == 0 {
		return
	}
	err := p.client.Set(ctx, keys.Points, encoded, keep).Err()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		p.points.failures.Inc()
		p.points.outage.goesOn("redis does not take the points' amounts; the page cannot tell them", err)
		return
	}
	p.points.outage.isOver("redis takes the points' amounts again")
}
