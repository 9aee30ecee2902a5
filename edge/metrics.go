package edge

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// gauges registers what is held now, and what the edge could say to a probe.
func (e *Edge) gauges() {
	gauge := func(name, help string, value func() int) {
		promauto.With(e.metrics).NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	gauge("sightglass_client_addresses", "Addresses that hold WebSockets.", e.limits.addresses.Len)
	gauge("sightglass_clients_limit", "Most clients that are let in: --max-clients, or what the limit of open files leaves of it.", func() int { return e.opts.MaxClients })
	gauge("sightglass_edge_handshake_addresses", "Addresses whose handshakes are remembered.", e.limits.handshakes.Len)
	gauge("sightglass_edge_sockets", "TCP connections, without those of proxies.", func() int { n, _ := e.public.Held(); return n })
	gauge("sightglass_edge_socket_addresses", "Addresses that hold TCP connections.", func() int { _, n := e.public.Held(); return n })
	gauge("sightglass_edge_ready", "1 while /readyz says yes.", func() int { return oneIf(e.unready() == nil) })
	gauge("sightglass_feed_connected", "1 while Redis has confirmed the subscription to snapshots.", func() int { return oneIf(e.feed.Connected()) })
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}
