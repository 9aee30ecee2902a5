package peers

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are those of the peer-to-peer network.
type Metrics struct {
	peers                       prometheus.Gauge
	counted, refused, replaced  prometheus.Counter
	unconfirmed                 *prometheus.CounterVec
	unrequested, notFound, late prometheus.Counter
	attempts, failures          prometheus.Counter
	dropped                     *prometheus.CounterVec
	bytes                       *prometheus.CounterVec
	height                      prometheus.Gauge
	blocks, badBlocks           prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: "sightglass_peers_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return with.NewGauge(prometheus.GaugeOpts{Name: "sightglass_peers_" + name, Help: help})
	}
	m := &Metrics{
		peers:   gauge("connected", "Connected peers of the peer-to-peer network, after the handshake."),
		counted: counter("counted_total", "Transactions that a quorum of peers announced, or that came in a block."),
		unconfirmed: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_peers_unconfirmed_total", Help: "Announced transactions that never got a quorum, by the place of the peer that announced it first; the log has the addresses.",
		}, []string{"peer"}),
		refused:     counter("refused_announcements_total", "Announcements beyond what a peer may have without a quorum."),
		replaced:    counter("replaced_total", "Counted transactions whose inputs another one spent."),
		unrequested: counter("unrequested_total", "Transactions that peers sent without a request."),
		notFound:    counter("not_found_total", "Requested transactions that a peer no longer had."),
		late:        counter("late_total", "Requested transactions that a peer did not send within 5 s."),
		attempts:    counter("attempts_total", "Attempts to connect to a peer."),
		failures:    counter("failures_total", "Attempts that did not end in a handshake."),
		dropped: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_peers_dropped_total", Help: "Peers that were disconnected, by reason.",
		}, []string{"reason"}),
		bytes: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_peers_bytes_total", Help: "Traffic with peers, by direction.",
		}, []string{"direction"}),
		height:    gauge("height", "Height of the best block by the headers."),
		blocks:    counter("blocks_total", "Blocks that were fetched and checked."),
		badBlocks: counter("bad_blocks_total", "Blocks that do not match their header."),
	}
	return m
}
