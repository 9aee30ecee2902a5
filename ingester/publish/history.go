package publish

import (
	"context"
	"log/slog"
	"sync"

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
	// be wrong by a factor for some seconds, and the interval says so; the chart would show it for two days.
	maxSpread = 1.5
)

// A historyWriter writes the history to Redis, separately from the snapshots, so that a rejected history does not cost
// a snapshot. It writes only after Redis accepted a snapshot of ours. When another ingester is the leader, it drops the
// waiting entries: then that one writes the history.
type historyWriter struct {
	client  redis.UniversalClient
	outage  daemon.Outage
	metrics *historyMetrics
	lostKey prometheus.Counter // times that Redis had lost the history
	wake    chan struct{}      // capacity 1: entries are waiting

	mu      sync.Mutex
	slot    int64           // of the newest entry
	waiting []history.Entry // in the order of arrival, at most maxWaiting
	written *history.Entry  // the last one that Redis accepted; nil: none, or another ingester may have written since
}

type historyMetrics struct{ written, lost, failures prometheus.Counter }

func newHistoryWriter(client redis.UniversalClient, lostKey prometheus.Counter, log *slog.Logger, reg prometheus.Registerer) *historyWriter {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &historyWriter{
		client:  client,
		outage:  daemon.Outage{Log: log},
		lostKey: lostKey,
		wake:    make(chan struct{}, 1),
		metrics: &historyMetrics{
			written:  counter("sightglass_history_written_total", "History entries that Redis accepted."),
			lost:     counter("sightglass_history_lost_total", "History entries that were never written: Redis was down for too long, or another ingester became the leader."),
			failures: counter("sightglass_history_failures_total", "Failed writes of history entries to Redis."),
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

// forget drops the waiting entries.
func (r *historyWriter) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metrics.lost.Add(float64(len(r.waiting)))
	r.waiting, r.written = nil, nil
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

// run writes the waiting entries after each flush, until ctx ends. A failed write is retried after the next flush.
func (r *historyWriter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			r.writeWaiting(ctx)
		}
	}
}

// writeWaiting writes the waiting entries, until a write fails. It is for one goroutine at a time.
func (r *historyWriter) writeWaiting(ctx context.Context) {
	for entries := r.take(); len(entries) > 0; entries = r.take() {
		if !r.write(ctx, entries) {
			r.restore(entries)
			return
		}
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
		r.metrics.failures.Inc()
		r.outage.Failed("redis does not accept the history; keeping the last hour to write it later", redisurl.Explain(err))
		return false
	}
	if gone {
		r.lostKey.Inc()
		r.outage.Log.Warn("redis has lost the history: it was emptied, has restarted without its data, or evicts keys; continuing with new entries")
	}
	last := entries[len(entries)-1]
	r.mu.Lock()
	if r.written == before { // otherwise another ingester became the leader meanwhile
		r.written = &last
	}
	r.mu.Unlock()
	r.metrics.written.Add(float64(len(entries)))
	r.outage.Recovered("redis accepts the history again")
	return true
}
