package hub

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sightglass/edge/feed"
	"sightglass/edge/ws"
)

type metrics struct {
	accepted, bytes, skipped, ignored prometheus.Counter
	behind                            prometheus.Gauge
	fanOut                            prometheus.Histogram
	frames                            [feed.Forms]prometheus.Counter
	clients                           [protocols]prometheus.Gauge
	closed                            *prometheus.CounterVec
	messages                          [kinds]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		accepted: counter("sightglass_clients_accepted_total", "Clients that were let in."),
		bytes:    counter("sightglass_client_bytes_total", "Bytes of the snapshots written to clients, with frame headers."),
		skipped:  counter("sightglass_client_skipped_total", "Snapshots that clients were too slow for."),
		ignored:  counter("sightglass_client_ignored_total", "Messages from clients that mean nothing."),
		behind: with.NewGauge(prometheus.GaugeOpts{
			Name: "sightglass_clients_behind", Help: "Clients that have not taken all of a frame yet.",
		}),
		fanOut: with.NewHistogram(prometheus.HistogramOpts{
			Name: "sightglass_fan_out_seconds", Help: "From a snapshot's arrival until a shard has written it to its last client.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 11), // to a second: two snapshots' time
		}),
		closed: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_client_closed_total", Help: "Connections that ended or were refused, by close code.",
		}, []string{"code"}),
	}
	for _, why := range reasons {
		m.closed.WithLabelValues(why.label()) // so that the first is seen as a rise
	}
	messages := with.NewCounterVec(prometheus.CounterOpts{
		Name: "sightglass_client_messages_total", Help: "Frames from clients, by kind, until they are told to go.",
	}, []string{"kind"})
	for k, name := range kindNames {
		m.messages[k] = messages.WithLabelValues(name)
	}
	frames := with.NewCounterVec(prometheus.CounterOpts{
		Name: "sightglass_client_frames_total", Help: "Snapshots written to clients, by form.",
	}, []string{"form"})
	for form := range m.frames {
		m.frames[form] = frames.WithLabelValues(feed.Form(form).String())
	}
	clients := with.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sightglass_clients", Help: "Clients that are connected, by protocol.",
	}, []string{"protocol"})
	for p := range m.clients {
		m.clients[p] = clients.WithLabelValues(protocol(p).String())
	}
	return m
}

// The kinds of frames that a client may send.
const (
	kindText = iota
	kindBinary
	kindPing
	kindPong
	kindClose
	kinds // how many there are
)

var kindNames = [kinds]string{"text", "binary", "ping", "pong", "close"}

// count counts a frame from a client.
func (m *metrics) count(opcode byte) {
	switch opcode {
	case ws.Text:
		m.messages[kindText].Inc()
	case ws.Binary:
		m.messages[kindBinary].Inc()
	case ws.Ping:
		m.messages[kindPing].Inc()
	case ws.Pong:
		m.messages[kindPong].Inc()
	case ws.Close:
		m.messages[kindClose].Inc()
	}
}

// A tally counts what one goroutine writes: ten thousand clients' frames are added to the metrics in one go.
type tally struct {
	frames         [feed.Forms]int
	bytes, skipped int
}

// add adds the tally to the metrics and empties it.
func (m *metrics) add(t *tally) {
	for form, n := range t.frames {
		m.frames[form].Add(float64(n))
	}
	m.bytes.Add(float64(t.bytes))
	m.skipped.Add(float64(t.skipped))
	*t = tally{}
}
