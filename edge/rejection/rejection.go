// Package rejection counts the connections and requests that an edge rejected, by reason.
package rejection

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// A Reason says why a connection or request was rejected. The constants below are the only ones, so a client cannot create
// metric series.
type Reason string

// The reasons, in the order of the checks.
const (
	None Reason = "" // not rejected

	Descriptors   Reason = "descriptors"    // the process has no file descriptor left
	Sockets       Reason = "sockets"        // too many TCP connections from one address
	ProxyHeader   Reason = "proxy_header"   // a proxy's connection did not begin with a PROXY protocol header
	HeaderTime    Reason = "header_time"    // the request was not complete in time
	HeaderSize    Reason = "header_size"    // the request's headers are too large
	Draining      Reason = "draining"       // the edge is shutting down
	Origin        Reason = "origin"         // a page whose origin is not allowed
	HandshakeRate Reason = "handshake_rate" // too many requests for streams from one address
	Address       Reason = "address"        // too many streams from one address on this edge
	Cluster       Reason = "cluster"        // too many streams from one address on all edges
	Full          Reason = "full"           // too many streams in total
)

var all = []Reason{
	Descriptors, Sockets, ProxyHeader, HeaderTime, HeaderSize, Draining, Origin, HandshakeRate, Address, Cluster, Full,
}

// A Counter counts rejections in a metric. A nil Counter counts nothing.
type Counter struct{ rejected *prometheus.CounterVec }

// NewCounter registers the metric with reg. Every reason has a series from the start, so that the first rejection shows as an
// increase.
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
