package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what comes from the node.
type Metrics struct {
	messages    *prometheus.CounterVec
	badMessages *prometheus.CounterVec
	missed      *prometheus.CounterVec
}

// NewMetrics registers with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	with := promauto.With(reg)
	return &Metrics{
		messages: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_node_messages_total", Help: "Messages from the node that were understood.",
		}, []string{"topic"}),
		badMessages: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_node_bad_messages_total", Help: "Messages from the node that were passed over, by what was wrong.",
		}, []string{"reason"}),
		missed: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_node_missed_messages_total", Help: "Messages that the node's counters show as sent and that did not arrive.",
		}, []string{"topic"}),
	}
}
