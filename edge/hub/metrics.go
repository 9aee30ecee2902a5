package hub

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sightglass/edge/ws"
)

type metrics struct {
	accepted, bytes, skipped, ignored prometheus.Counter
	behind                            prometheus.Gauge
	fanOut                            prometheus.Histogram
	frames                            []prometheus.Counter // by encoding
	clients                           []prometheus.Gauge   // by codec
	closed                            *prometheus.CounterVec
	messages                          map[byte]prometheus.Counter // by opcode
}

func newMetrics(reg prometheus.Registerer) *metrics {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		messages: make(map[byte]prometheus.Counter),
		accepted: counter("sightglass_clients_accepted_total", "Clients that were accepted."),
		bytes:    counter("sightglass_client_bytes_total", "Bytes of the snapshots written to clients, with frame headers."),
		skipped:  counter("sightglass_client_skipped_total", "Snapshots that were skipped because a client was too slow."),
		ignored:  counter("sightglass_client_ignored_total", "Unknown messages from clients, which are ignored."),
		behind: with.NewGauge(prometheus.GaugeOpts{
			Name: "sightglass_clients_behind", Help: "Clients that have not yet accepted the whole of a frame.",
		}),
		fanOut: with.NewHistogram(prometheus.HistogramOpts{
			Name: "sightglass_fan_out_seconds", Help: "Time from a snapshot's arrival until a shard has written it to its last client.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 11), // up to a second: two snapshots' time
		}),
		closed: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_client_closed_total", Help: "Connections that ended or were rejected, by close code.",
		}, []string{"code"}),
	}
	for _, code := range reasonCodes {
		m.closed.WithLabelValues(codeLabel(code)) // a series that starts at 0 shows the first one as an increase
	}
	messages := with.NewCounterVec(prometheus.CounterOpts{
		Name: "sightglass_client_messages_total", Help: "Frames from clients until their close, by kind.",
	}, []string{"kind"})
	for opcode, kind := range messageKinds {
		m.messages[opcode] = messages.WithLabelValues(kind)
	}
	frames := with.NewCounterVec(prometheus.CounterOpts{
		Name: "sightglass_client_frames_total", Help: "Snapshots written to clients, by form.",
	}, []string{"form"})
	for _, e := range encodings {
		m.frames = append(m.frames, frames.WithLabelValues(e.label))
	}
	clients := with.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sightglass_clients", Help: "Connected clients, by protocol.",
	}, []string{"protocol"})
	for _, c := range codecs {
		m.clients = append(m.clients, clients.WithLabelValues(c.label))
	}
	return m
}

// messageKinds are the frames that a client may send, by opcode.
var messageKinds = map[byte]string{ws.Text: "text", ws.Binary: "binary", ws.Ping: "ping", ws.Pong: "pong", ws.Close: "close"}

// counters count the writes of one goroutine. A fan-out to ten thousand clients adds them to the metrics once.
type counters struct {
	frames         [maxEncodings]int // by encoding
	bytes, skipped int
}

// add adds n to the metrics and resets it.
func (m *metrics) add(n *counters) {
	for i, counter := range m.frames {
		counter.Add(float64(n.frames[i]))
	}
	m.bytes.Add(float64(n.bytes))
	m.skipped.Add(float64(n.skipped))
	*n = counters{}
}
