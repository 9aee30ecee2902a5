package edge

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// registerGauges registers the edge's current counts and its readiness.
func (e *Edge) registerGauges() {
	gauge := func(name, help string, value func() int) {
		promauto.With(e.metrics).NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	gauge("sightglass_client_addresses", "Addresses with open streams.", e.limits.addresses.Len)
	gauge("sightglass_clients_limit", "Maximum number of clients: --max-clients, or less if the limit of open files is lower.", func() int { return e.opts.MaxClients })
	gauge("sightglass_edge_handshake_addresses", "Addresses whose requests for streams are being rate limited or were recently.", e.limits.handshakes.Len)
	gauge("sightglass_edge_sockets", "Open TCP connections, without those of proxies.", func() int { n, _ := e.public.Held(); return n })
	gauge("sightglass_edge_socket_addresses", "Addresses with open TCP connections.", func() int { _, n := e.public.Held(); return n })
	gauge("sightglass_edge_ready", "1 while /readyz responds with 200, 0 otherwise.", func() int { return oneIf(e.unready() == nil) })
	gauge("sightglass_feed_connected", "1 while the edge is subscribed to snapshots on Redis, 0 otherwise.", func() int { return oneIf(e.feed.Connected()) })
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}
