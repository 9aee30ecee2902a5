// Package rejection counts the connections and requests that an edge rejected, by reason.
package rejection

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// A Reason is why a connection or request was rejected. Those below are all there are, so a client cannot create metric
// series.
type Reason string

// The reasons, in the order in which a client meets them.
const (
	None Reason = "" // not rejected

	Descriptors   Reason = "descriptors"    // the process has no file descriptor left for another connection
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
type Counter struct{ rejected *prometheus.CounterVec }

// NewCounter registers the metric with reg. Each reason is there from the start, so that the first rejection is seen as a rise.
func NewCounter(reg prometheus.Registerer) *Counter {
	c := &Counter{promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "sightglass_edge_rejected_total", Help: "Connections and requests for streams that were rejected, by reason.",
	}, []string{"reason"})}
	for _, why := range all {
		c.rejected.WithLabelValues(string(why))
	}
	return c
}

// Count counts a rejection.
func (c *Counter) Count(why Reason) {
	if c != nil {
		c.rejected.WithLabelValues(string(why)).Inc()
	}
}
