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
			Name: "sightglass_rpc_calls_total", Help: "Calls and batches to the node's RPC, by method and outcome after retries.",
		}, []string{"method", "outcome"}),
		seconds: with.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sightglass_rpc_seconds", Help: "Duration of calls and batches to the node's RPC, including retries.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"method"}),
	}
}

func (m *metrics) observe(method string, began time.Time, err error) {
	m.calls.WithLabelValues(method, outcome(err)).Inc()
	m.seconds.WithLabelValues(method).Observe(time.Since(began).Seconds())
}

// outcome returns one of a few labels: their number must not grow with the node's messages.
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
