package hub

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	accepted, frames, skipped, ignored prometheus.Counter
	closed                             *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, h *Hub) *metrics {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sightglass_clients", Help: "Clients that are connected.",
	}, func() float64 { return float64(h.Len()) })
	return &metrics{
		accepted: counter("sightglass_clients_accepted_total", "Clients that were let in."),
		frames:   counter("sightglass_client_frames_total", "Snapshots written to clients."),
		skipped:  counter("sightglass_client_skipped_total", "Snapshots that clients were too slow for."),
		ignored:  counter("sightglass_client_ignored_total", "Messages from clients that mean nothing."),
		closed: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_client_closed_total", Help: "Connections that ended or were refused, by close code.",
		}, []string{"code"}),
	}
}
