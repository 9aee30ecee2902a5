package publish

import (
	"context"
	"log/slog"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/daemon"
	"sightglass/shared/history"
	"sightglass/shared/keys"
	"sightglass/shared/snapshot"
)

const (
	// backlog is how many entries wait while Redis is away: an hour, which outlasts a restart and costs 15 kB. What is
	// older is lost.
	backlog = 60 * 60 / history.Slot
	// batch is how many entries go in one transaction. Redis serves nobody else meanwhile, so it is kept to some 100 us.
	batch = 60
)

// A recorder writes the price's course to Redis, beside the snapshots and not with them: a history that Redis does not
// take, for whatever reason, must not cost a snapshot. It writes only after a snapshot of ours that Redis took, and
// forgets what waits when another ingester reigns: the course is that one's to write.
type recorder struct {
	client  redis.UniversalClient
	outage  daemon.Outage
	metrics *historyMetrics
	gone    prometheus.Counter // times that Redis had lost the history
	wake    chan struct{}      // has room for one: something is waiting

	mu      sync.Mutex
	slot    int64           // of the newest entry
	waiting []history.Entry // in the order in which they came, at most backlog
	written *history.Entry  // the last that Redis took; nil: none, or another ingester may have written since
}

type historyMetrics struct{ written, lost, failures prometheus.Counter }

func newRecorder(client redis.UniversalClient, log *slog.Logger, reg prometheus.Registerer) *recorder {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &recorder{
		client: client,
		outage: daemon.Outage{Log: log},
		wake:   make(chan struct{}, 1),
		metrics: &historyMetrics{
			written:  counter("sightglass_history_written_total", "Entries of the history that Redis has accepted."),
			lost:     counter("sightglass_history_lost_total", "Entries that were never written: Redis was away for too long, or another ingester took over."),
			failures: counter("sightglass_history_failures_total", "Times that Redis did not accept entries."),
		},
	}
}

// Record takes the snapshot into the history if it is the first with a price in its 10 s. It never blocks. A clock
// that steps back writes its slots again; a later entry replaces the one of its slot.
func (p *Publisher) Record(s *snapshot.Snapshot) {
	if s.Status != snapshot.Live {
		return
	}
	p.history.put(history.Entry{
		Timestamp: int64(s.Timestamp), Price: s.Price, Low: s.Low, High: s.High, Confidence: s.Confidence,
	})
}

func (r *recorder) put(e history.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Slot() == r.slot {
		return
	}
	r.slot = e.Slot()
	r.waiting = r.bounded(append(r.waiting, e))
}

// forget drops what waits.
func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metrics.lost.Add(float64(len(r.waiting)))
	r.waiting, r.written = nil, nil
}

// nudge lets the recorder write. It never blocks.
func (r *recorder) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// bounded drops the oldest that are too many.
func (r *recorder) bounded(entries []history.Entry) []history.Entry {
	lost := max(0, len(entries)-backlog)
	r.metrics.lost.Add(float64(lost))
	return entries[lost:]
}

// run writes what waits, when nudged, until ctx ends. After a failure it tries again when it is nudged again.
func (r *recorder) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for entries := r.take(); len(entries) > 0; entries = r.take() {
			if !r.record(ctx, entries) {
				r.giveBack(entries)
				break
			}
		}
	}
}

func (r *recorder) take() []history.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(batch, len(r.waiting))
	entries := r.waiting[:n:n]
	r.waiting = r.waiting[n:]
	return entries
}

func (r *recorder) giveBack(entries []history.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = r.bounded(append(entries, r.waiting...))
}

func (r *recorder) record(ctx context.Context, entries []history.Entry) (ok bool) {
	trying, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.mu.Lock()
	before := r.written
	r.mu.Unlock()
	gone, err := writeHistory(trying, r.client, before, entries)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		r.metrics.failures.Inc()
		r.outage.Failed("redis does not take the history; the last hour is kept, to be written later", err)
		return false
	}
	if gone {
		r.gone.Inc()
		r.outage.Log.Warn("the history is gone from redis, which was there a moment ago: redis was emptied, has restarted without its data, or evicts keys; going on with what is new")
	}
	last := entries[len(entries)-1]
	r.mu.Lock()
	if r.written == before { // else another ingester has taken over meanwhile
		r.written = &last
	}
	r.mu.Unlock()
	r.metrics.written.Add(float64(len(entries)))
	r.outage.Recovered("redis takes the history again")
	return true
}

// writeHistory puts entries into their slots, in the place of what is there: a second ingester, or a repeat, adds
// nothing. A sorted set by time does that in place, which a list or a stream cannot; they only append. It is trimmed by
// number, not by the clock, or a clock that is wrong for a moment would empty it.
//
// before is the entry that was written last, or nil. It is written again, which shows whether it was still there, and so
// whether somebody has taken the history away: that asks for no more rights than the writing does.
func writeHistory(ctx context.Context, client redis.UniversalClient, before *history.Entry, entries []history.Entry) (gone bool, err error) {
	var replaced *redis.IntCmd
	_, err = client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if before != nil {
			replaced = writeEntry(ctx, p, *before)
		}
		for _, e := range entries {
			writeEntry(ctx, p, e)
		}
		p.ZRemRangeByRank(ctx, keys.History, 0, -history.MaxEntries-1)
		return nil
	})
	return err == nil && replaced != nil && replaced.Val() == 0, err
}

// writeEntry gives how many entries of the slot it replaces.
func writeEntry(ctx context.Context, p redis.Pipeliner, e history.Entry) *redis.IntCmd {
	first := e.Slot()
	replaced := p.ZRemRangeByScore(ctx, keys.History, decimal(first), decimal(first+history.Slot-1))
	p.ZAdd(ctx, keys.History, redis.Z{Score: float64(e.Timestamp), Member: e.AppendJSON(nil)})
	return replaced
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
