package bitcoind

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	with := promauto.With(reg)
	return &metrics{
		calls: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_rpc_calls_total", Help: "Calls and batches to the node's RPC, by what came of them in the end.",
		}, []string{"method", "outcome"}),
		seconds: with.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sightglass_rpc_seconds", Help: "Time that calls and batches to the node's RPC took, all tries together.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"method"}),
	}
}

func (m *metrics) observe(method string, began time.Time, err error) {
	m.calls.WithLabelValues(method, outcome(err)).Inc()
	m.seconds.WithLabelValues(method).Observe(time.Since(began).Seconds())
}

// outcome is one of a few words: as a label it must not grow with what the node says.
func outcome(err error) string {
	var k *kind
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "cancelled"
	case errors.As(err, &k):
		return k.label
	}
	return "rpc_error"
}
