package publish

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
	"sightglass/shared/daemon"
	"sightglass/shared/history"
	"sightglass/shared/redisurl"
)

const (
	// maxWaiting bounds the entries that wait while Redis is down: an hour, longer than a restart, and 15 kB. Older
	// entries are lost.
	maxWaiting = 60 * 60 / history.Slot
	// maxSpread is how far apart the ends of a live price's interval may be for the history. On a cold start the price may
	// be wrong by a factor for some seconds, and the interval says so; its candles would show it for years.
	maxSpread = 1.5
)

// A historyWriter writes the history to Redis, separately from the snapshots, so that a rejected history does not cost
// a snapshot. It writes only after Redis accepted a snapshot of ours. When another ingester is the leader, it drops the
// waiting entries: then that one writes the history.
//
// After the entries it writes the candles of their hours and days, which are rebuilt from the entries in Redis. A failure of
// the one does not affect the other.
type historyWriter struct {
	client  redis.UniversalClient
	log     *slog.Logger
	metrics *historyMetrics
	lostKey prometheus.Counter // times that Redis had lost the history
	wake    chan struct{}      // capacity 1: entries are waiting

	// Of the goroutine that writes.
	outage, candleOutage daemon.Outage
	checked              time.Time // when the schema was found to be newer; zero: it was not
	built                time.Time // when candles were last written, or failed to be; zero: they are due

	mu      sync.Mutex
	term    int             // counts the elections of this ingester
	usable  int             // the term in which the schema was found to be ours; 0: none
	slot    int64           // of the newest entry
	waiting []history.Entry // in the order of arrival, at most maxWaiting
	written *history.Entry  // the last one that Redis accepted; nil: none, or another ingester may have written since
	since   int64           // the time of the oldest entry that is not in its candles, unix seconds; upToDate: none
}

const (
	// candleInterval is how often candles are written, at most. They are also written when an hour ends.
	candleInterval = time.Minute
	// recheckInterval is how often a newer history is checked again. An operator may have deleted it.
	recheckInterval = time.Minute
	// upToDate is later than every entry.
	upToDate = math.MaxInt64
)

type historyMetrics struct {
	written, lost, failures, candleFailures prometheus.Counter
	newer                                   prometheus.Gauge
}

func newHistoryWriter(client redis.UniversalClient, lostKey prometheus.Counter, log *slog.Logger, reg prometheus.Registerer) *historyWriter {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &historyWriter{
		client:       client,
		log:          log,
		outage:       daemon.Outage{Log: log},
		candleOutage: daemon.Outage{Log: log},
		lostKey:      lostKey,
		wake:         make(chan struct{}, 1),
		since:        upToDate,
		metrics: &historyMetrics{
			written:        counter("sightglass_history_written_total", "History entries that Redis accepted."),
			lost:           counter("sightglass_history_lost_total", "History entries that were never written: Redis was down for too long, another ingester became the leader, or the history is of a newer version."),
			failures:       counter("sightglass_history_failures_total", "Failed writes of history entries to Redis."),
			candleFailures: counter("sightglass_history_candle_failures_total", "Failed writes of the history's candles to Redis. The next one writes what is missing."),
			newer: with.NewGauge(prometheus.GaugeOpts{
				Name: "sightglass_history_newer", Help: "1 while this ingester is the leader and writes no history, because a newer version has written the one in Redis; 0 otherwise.",
			}),
		},
	}
}

// add adds the snapshot to the history if it is the first one in its slot that is no longer warming: a contested price is
// the best one still. It never blocks. After the clock was set back, slots are written again, and the later entry replaces
// the earlier one.
func (r *historyWriter) add(s *contract.Snapshot) {
	e := history.Entry{
		Timestamp: int64(s.Timestamp), Price: s.Price, Low: s.Low, High: s.High, Confidence: s.Confidence,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	vague := s.Status == contract.Live && s.High > maxSpread*s.Low
	if s.Status == contract.Warming || vague || s.Price <= 0 || e.Slot() == r.slot {
		return
	}
	r.slot = e.Slot()
	r.waiting = r.bounded(append(r.waiting, e))
}

// elected starts a term. Whether the history in Redis is ours to write is checked again, and all candles of the recent series
// are rebuilt once: the leader before may have ended without writing the last ones.
func (r *historyWriter) elected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term++
	r.since = 0
}

// forget drops the waiting entries.
func (r *historyWriter) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metrics.lost.Add(float64(len(r.waiting)))
	r.metrics.newer.Set(0)
	r.waiting, r.written, r.since = nil, nil, upToDate
}

// flush makes run write the waiting entries. It never blocks.
func (r *historyWriter) flush() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// bounded drops the oldest entries above maxWaiting.
func (r *historyWriter) bounded(entries []history.Entry) []history.Entry {
	lost := max(0, len(entries)-maxWaiting)
	r.metrics.lost.Add(float64(lost))
	return entries[lost:]
}

// run writes after each flush, until ctx ends.
func (r *historyWriter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			r.writeDue(ctx)
		}
	}
}

// writeDue writes the waiting entries, and the candles if they are due. A failed write of entries is retried at the next
// call; one of candles, after candleInterval, or sooner if an hour has ended. It is for one goroutine at a time.
func (r *historyWriter) writeDue(ctx context.Context) {
	r.writeWaiting(ctx)
	if time.Since(r.built) >= candleInterval {
		r.writeCandles(ctx)
	}
}

// finish writes what still waits. run has ended.
func (r *historyWriter) finish(ctx context.Context) {
	r.writeWaiting(ctx)
	r.writeCandles(ctx)
}

// writeWaiting writes the waiting entries, until a write fails.
func (r *historyWriter) writeWaiting(ctx context.Context) {
	if !r.mayWrite(ctx) {
		return
	}
	for entries := r.take(); len(entries) > 0; entries = r.take() {
		if !r.write(ctx, entries) {
			r.restore(entries)
			return
		}
	}
}

// mayWrite reports whether the history in Redis is not of a newer version. It asks Redis once a term, until there is a
// response, and then every recheckInterval while the history is newer.
func (r *historyWriter) mayWrite(ctx context.Context) bool {
	r.mu.Lock()
	term, known := r.term, r.usable == r.term
	r.mu.Unlock()
	if known || time.Since(r.checked) < recheckInterval {
		return known
	}
	within, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err := history.CheckSchema(within, r.client)
	switch {
	case ctx.Err() != nil:
		return false
	case errors.Is(err, history.ErrNewer):
		r.metrics.newer.Set(1)
		if r.checked.IsZero() {
			r.log.Error("a newer version of this program has written the history in redis: writing none; the price goes on", "err", err)
		}
		r.checked = time.Now()
		return false
	case err != nil:
		r.failed(err)
		return false
	}
	if !r.checked.IsZero() {
		r.log.Info("the history in redis is no longer newer: writing it")
	}
	r.metrics.newer.Set(0)
	r.checked, r.built = time.Time{}, time.Time{}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.usable = term
	return true
}

// failed counts and logs a failed write of entries.
func (r *historyWriter) failed(err error) {
	r.metrics.failures.Inc()
	r.outage.Failed("redis does not accept the history; keeping the last hour to write it later", redisurl.Explain(err))
}

// writeCandles writes the candles of the hours and days of which entries were written since the last time, and what an
// ingester of an earlier version, or an emptied Redis, has left to do.
func (r *historyWriter) writeCandles(ctx context.Context) {
	r.mu.Lock()
	since, mayWrite := r.since, r.usable == r.term
	if mayWrite {
		r.since = upToDate
	}
	r.mu.Unlock()
	if since == upToDate || !mayWrite {
		return
	}
	r.built = time.Now()
	within, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := history.Upgrade(within, r.client)
	if err == nil {
		err = history.AddRecent(within, r.client, since)
	}
	if err == nil {
		r.candleOutage.Recovered("redis accepts the history's candles again")
		return
	}
	r.mu.Lock()
	r.since = min(r.since, since)
	if errors.Is(err, history.ErrNewer) {
		r.usable = 0 // a newer ingester was the leader meanwhile; mayWrite says so
	}
	r.mu.Unlock()
	if ctx.Err() == nil && !errors.Is(err, history.ErrNewer) {
		r.metrics.candleFailures.Inc()
		r.candleOutage.Failed("redis does not accept the history's candles; writing them later", redisurl.Explain(err))
	}
}

func (r *historyWriter) take() []history.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(history.MaxTransaction, len(r.waiting))
	entries := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	return entries
}

func (r *historyWriter) restore(entries []history.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = r.bounded(append(entries, r.waiting...))
}

func (r *historyWriter) write(ctx context.Context, entries []history.Entry) (ok bool) {
	writing, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	r.mu.Lock()
	before := r.written
	r.mu.Unlock()
	gone, err := history.WriteRecent(writing, r.client, before, entries)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		r.failed(err)
		return false
	}
	oldest, last := entries[0].Timestamp, entries[len(entries)-1]
	for _, e := range entries {
		oldest = min(oldest, e.Timestamp) // the clock may have been set back
	}
	if gone {
		oldest = 0
		r.lostKey.Inc()
		r.log.Warn("redis has lost the history: it was emptied, has restarted without its data, or evicts keys; continuing with new entries")
	}
	r.mu.Lock()
	if r.written == before { // otherwise another ingester became the leader meanwhile
		r.written = &last
		r.since = min(r.since, oldest)
	}
	if r.since/history.Hour < last.Timestamp/history.Hour { // an hour has ended
		r.built = time.Time{}
	}
	r.mu.Unlock()
	r.metrics.written.Add(float64(len(entries)))
	r.outage.Recovered("redis accepts the history again")
	return true
}
