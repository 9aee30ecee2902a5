package ingester

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sightglass/shared/snapshot"
)

type engineMetrics struct {
	received, repeated, gone prometheus.Counter
	filtered                 *prometheus.CounterVec
	active, price            prometheus.Gauge
	confidence               prometheus.Gauge
	tick, lag                prometheus.Histogram
}

func newEngineMetrics(reg prometheus.Registerer) *engineMetrics {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return with.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	return &engineMetrics{
		received: counter("sightglass_transactions_received_total", "Transactions seen for the first time."),
		repeated: counter("sightglass_transactions_repeated_total", "Transactions that were known already, or older than the window."),
		gone:     counter("sightglass_transactions_gone_total", "Transactions that left the mempool unconfirmed and took their evidence along."),
		filtered: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_transactions_filtered_total", Help: "Transactions that hold no payment, by why not.",
		}, []string{"reason"}),
		active:     gauge("sightglass_transactions_active", "Transactions with payments in the window."),
		price:      gauge("sightglass_price_usd", "Estimate, in dollars per bitcoin; 0 while there is none."),
		confidence: gauge("sightglass_confidence_ratio", "Probability that the price is right within 1 %."),
		tick: with.NewHistogram(prometheus.HistogramOpts{
			Name: "sightglass_tick_seconds", Help: "Time to compute a snapshot.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 10),
		}),
		lag: with.NewHistogram(prometheus.HistogramOpts{
			Name: "sightglass_evidence_lag_seconds", Help: "Time from a message's arrival to its being evidence.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 16),
		}),
	}
}

func (m *engineMetrics) observe(s *snapshot.Snapshot, took time.Duration) {
	m.active.Set(float64(s.Stats.ActiveInWindow))
	m.price.Set(s.Price)
	m.confidence.Set(s.Confidence)
	m.tick.Observe(took.Seconds())
}

// listenInternal binds the operators' listener; an empty address is none.
func listenInternal(addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--internal-listen: %w", err)
	}
	return ln, nil
}

// internalRoutes are for operators: GET /metrics, GET /mempool, the node's mempool as it is known here, and the probes
// GET /livez and /readyz.
func (in *Ingester) internalRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(in.metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /mempool", in.serveMempool)
	mux.HandleFunc("GET /livez", answerProbe(in.live))
	mux.HandleFunc("GET /readyz", answerProbe(in.ready))
	return mux
}

// mempoolAnswer has the names of bitcoind's getrawmempool false true, so that the two can be compared.
type mempoolAnswer struct {
	TxIDs    []string `json:"txids"`
	Sequence uint64   `json:"mempool_sequence"`
	InStep   bool     `json:"in_step"`
}

func (in *Ingester) serveMempool(w http.ResponseWriter, r *http.Request) {
	view, err := in.node.View(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	answer := mempoolAnswer{TxIDs: make([]string, len(view.IDs)), Sequence: view.Sequence, InStep: view.InStep}
	for i, id := range view.IDs {
		answer.TxIDs[i] = id.String()
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		in.log.Debug("GET /mempool was not taken", "err", err)
	}
}

// InternalAddr is where the operators' routes are; nil without InternalListen.
func (in *Ingester) InternalAddr() net.Addr {
	if in.internal == nil {
		return nil
	}
	return in.internal.Addr()
}

// serveInternal serves the operators' routes until ctx ends.
func serveInternal(ctx context.Context, ln net.Listener, routes http.Handler) error {
	server := &http.Server{Handler: routes, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
