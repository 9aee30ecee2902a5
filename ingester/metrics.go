package ingester

import (
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sightglass/ingester/payment"
	"sightglass/shared/contract"
	"sightglass/shared/daemon"
)

// statuses are the statuses that an ingester sets.
var statuses = [...]contract.Status{contract.Warming, contract.Live, contract.Contested}

type engineMetrics struct {
	received, repeated, gone prometheus.Counter
	setBack                  prometheus.Counter
	filtered                 *prometheus.CounterVec
	active                   prometheus.Gauge
	price, low, high         prometheus.Gauge
	confidence               prometheus.Gauge
	status                   map[contract.Status]prometheus.Gauge
	outputs, newest, age     prometheus.Gauge
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
	status := with.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sightglass_status", Help: "1 for the current status of the snapshots, 0 for the others.",
	}, []string{"status"})
	m := &engineMetrics{
		received: counter("sightglass_transactions_received_total", "Transactions seen for the first time."),
		repeated: counter("sightglass_transactions_repeated_total", "Transactions that were ignored: already known, or older than the window."),
		gone:     counter("sightglass_transactions_gone_total", "Transactions that left the mempool unconfirmed, so that their evidence was removed."),
		setBack:  counter("sightglass_clock_set_back_total", "Times that this machine's clock was set back by over a minute."),
		filtered: with.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_transactions_filtered_total", Help: "Transactions without a payment, by reason.",
		}, []string{"reason"}),
		active:     gauge("sightglass_transactions_active", "Transactions with payments in the window."),
		price:      gauge("sightglass_price_usd", "Estimate, in dollars per bitcoin; 0 while there is none."),
		low:        gauge("sightglass_price_low_usd", "Lower end of the 90 % interval, in dollars per bitcoin; 0 while there is no price."),
		high:       gauge("sightglass_price_high_usd", "Upper end of the 90 % interval, in dollars per bitcoin; 0 while there is no price."),
		status:     make(map[contract.Status]prometheus.Gauge),
		outputs:    gauge("sightglass_evidence_outputs", "Outputs in the window that count as payments."),
		newest:     gauge("sightglass_evidence_newest_timestamp_seconds", "When the newest transaction with a payment was seen, unix seconds; 0 before the first."),
		age:        gauge("sightglass_evidence_mean_age_seconds", "Mean age of the outputs in the window, to the minute."),
		confidence: gauge("sightglass_confidence_ratio", "Probability that the price is right within 1 %."),
		tick: with.NewHistogram(prometheus.HistogramOpts{
			Name: "sightglass_tick_seconds", Help: "Time to compute a snapshot.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 10),
		}),
		lag: with.NewHistogram(prometheus.HistogramOpts{
			Name: "sightglass_evidence_lag_seconds", Help: "Time from the receipt of a transaction until it is evidence.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 16),
		}),
	}
	for _, s := range statuses {
		m.status[s] = status.WithLabelValues(string(s))
	}
	for _, why := range payment.Reasons()[1:] { // all except Kept
		m.filtered.WithLabelValues(why.String()) // a series that starts at 0 shows the first one as an increase
	}
	return m
}

func (m *engineMetrics) observe(s *contract.Snapshot, took time.Duration) {
	m.active.Set(float64(s.Stats.ActiveInWindow))
	m.price.Set(s.Price)
	m.low.Set(s.Low)
	m.high.Set(s.High)
	m.confidence.Set(s.Confidence)
	for status, gauge := range m.status {
		gauge.Set(oneIf(s.Status == status))
	}
	m.tick.Observe(took.Seconds())
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// internalRoutes are for operators: GET /metrics; GET /mempool, the node's mempool as the ingester knows it; and the
// probes GET /livez and /readyz.
func (in *Ingester) internalRoutes() http.Handler {
	mux := daemon.InternalRoutes(in.metrics)
	if in.node != nil {
		mux.HandleFunc("GET /mempool", in.serveMempool)
	}
	mux.HandleFunc("GET /livez", probeHandler(in.live))
	mux.HandleFunc("GET /readyz", probeHandler(in.ready))
	return mux
}

// mempoolResponse has the keys of bitcoind's getrawmempool false true, so that both can be compared.
type mempoolResponse struct {
	TxIDs    []string `json:"txids"`
	Sequence uint64   `json:"mempool_sequence"`
	InSync   bool     `json:"in_sync"`
}

func (in *Ingester) serveMempool(w http.ResponseWriter, r *http.Request) {
	view, err := in.node.View(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	response := mempoolResponse{TxIDs: make([]string, len(view.IDs)), Sequence: view.Sequence, InSync: view.InSync}
	for i, id := range view.IDs {
		response.TxIDs[i] = id.String()
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(response); err != nil {
		in.log.Debug("GET /mempool failed", "err", err)
	}
}

// InternalAddr returns the address of the listener for operators; nil without InternalListen.
func (in *Ingester) InternalAddr() net.Addr {
	if in.internal == nil {
		return nil
	}
	return in.internal.Addr()
}
