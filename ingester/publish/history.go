package publish

import (
	"context"
	"log/slog"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
	"sightglass/shared/daemon"
	"sightglass/shared/redisurl"
)

const (
	// maxWaiting bounds the entries that wait while Redis is down: an hour, longer than a restart, and 15 kB. Older
	// entries are lost.
	maxWaiting = 60 * 60 / contract.HistorySlot
	// maxTransaction bounds the entries of one transaction. Redis serves no other client meanwhile, so it should take
	// about 100 us at most.
	maxTransaction = 60
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
	slot    int64                   // of the newest entry
	waiting []contract.HistoryEntry // in the order of arrival, at most maxWaiting
	written *contract.HistoryEntry  // the last one that Redis accepted; nil: none, or another ingester may have written since
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
	e := contract.HistoryEntry{
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
func (r *historyWriter) bounded(entries []contract.HistoryEntry) []contract.HistoryEntry {
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

func (r *historyWriter) take() []contract.HistoryEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(maxTransaction, len(r.waiting))
	entries := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	return entries
}

func (r *historyWriter) restore(entries []contract.HistoryEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = r.bounded(append(entries, r.waiting...))
}

func (r *historyWriter) write(ctx context.Context, entries []contract.HistoryEntry) (ok bool) {
	writing, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	r.mu.Lock()
	before := r.written
	r.mu.Unlock()
	gone, err := writeHistory(writing, r.client, before, entries)
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

// writeHistory replaces the entries of the slots, so that a second ingester or a repeated write adds none. A sorted set
// by time allows that; lists and streams only append. It is trimmed by number and not by time, because a clock that is
// wrong for a moment would empty it.
//
// before is the entry that was written last, or nil. It is written again: the response shows whether it was still
// there, and so whether the history was lost. That needs no rights beyond those for writing.
func writeHistory(ctx context.Context, client redis.UniversalClient, before *contract.HistoryEntry, entries []contract.HistoryEntry) (gone bool, err error) {
	var replaced *redis.IntCmd
	_, err = client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if before != nil {
			replaced = writeEntry(ctx, p, *before)
		}
		for _, e := range entries {
			writeEntry(ctx, p, e)
		}
		p.ZRemRangeByRank(ctx, contract.KeyHistory, 0, -contract.MaxHistoryEntries-1)
		return nil
	})
	return err == nil && replaced != nil && replaced.Val() == 0, err
}

// writeEntry returns the number of entries of the slot that it replaced.
func writeEntry(ctx context.Context, p redis.Pipeliner, e contract.HistoryEntry) *redis.IntCmd {
	first := e.Slot()
	replaced := p.ZRemRangeByScore(ctx, contract.KeyHistory, decimal(first), decimal(first+contract.HistorySlot-1))
	p.ZAdd(ctx, contract.KeyHistory, redis.Z{Score: float64(e.Timestamp), Member: e.AppendJSON(nil)})
	return replaced
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
