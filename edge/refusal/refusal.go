// Package refusal counts whom an edge turned away, by why.
package refusal

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// A Reason is why someone was turned away. Those below are all there are, so a client cannot make new series.
type Reason string

// The reasons, in the order in which a client meets them.
const (
	Descriptors   Reason = "descriptors"    // the process has no file descriptor left for another socket
	Sockets       Reason = "sockets"        // too many TCP connections from one address
	ProxyHeader   Reason = "proxy_header"   // a proxy's connection did not begin with a PROXY protocol header
	HeaderTime    Reason = "header_time"    // the request took too long to come
	HeaderSize    Reason = "header_size"    // more bytes of headers than we take
	Draining      Reason = "draining"       // the edge is about to stop
	Origin        Reason = "origin"         // a page of another origin
	HandshakeRate Reason = "handshake_rate" // too many WebSocket handshakes from one address
	Address       Reason = "address"        // too many WebSockets from one address, on this edge
	Cluster       Reason = "cluster"        // too many WebSockets from one address, on all edges
	Full          Reason = "full"           // too many WebSockets in all
)

var all = []Reason{
	Descriptors, Sockets, ProxyHeader, HeaderTime, HeaderSize, Draining, Origin, HandshakeRate, Address, Cluster, Full,
}

// A Counter is a metric. A nil Counter counts nothing.
type Counter struct{ refused *prometheus.CounterVec }

// NewCounter registers the metric with reg. Each reason is there from the start, so that a first refusal is seen as a rise.
func NewCounter(reg prometheus.Registerer) *Counter {
	c := &Counter{promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "sightglass_edge_refused_total", Help: "Connections and handshakes that were turned away, by why.",
	}, []string{"reason"})}
	for _, why := range all {
		c.refused.WithLabelValues(string(why))
	}
	return c
}

// Count counts one that was turned away.
func (c *Counter) Count(why Reason) {
	if c != nil {
		c.refused.WithLabelValues(string(why)).Inc()
	}
}
