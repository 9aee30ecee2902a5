// Package archive reads from Redis what few ask for, the price's course and the points' amounts, and keeps it for as long
// as it is fresh.
package archive

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"sightglass/shared/history"
	"sightglass/shared/keys"
	"sightglass/shared/redisurl"
)

// Fresh is how long what was read is taken for what there is: half the time in which one entry comes. Redis is asked
// no more often, however many ask the edge.
const Fresh = history.Slot * time.Second / 2

// A Course is the price's course, oldest first. Neither it nor its entries change: two that are the same pointer hold
// the same.
type Course struct{ Entries []history.Entry }

// Between gives the range of the entries from one time to another, both included, in unix seconds: Entries[i:j].
func (c *Course) Between(from, to int64) (i, j int) {
	at := func(e history.Entry, t int64) int { return int(e.Timestamp - t) }
	i, _ = slices.BinarySearchFunc(c.Entries, from, at)
	j, _ = slices.BinarySearchFunc(c.Entries, to+1, at)
	return i, max(i, j)
}

// An Archive is safe for concurrent use.
type Archive struct {
	client  redis.UniversalClient
	log     *slog.Logger
	metrics *metrics
	refused rate.Sometimes // keeps a flood of bad entries out of the log
	course  kept[Course]
}

type metrics struct{ reads, failures, refused prometheus.Counter }

// New makes an archive that reads from client, and registers its metrics with reg.
func New(client redis.UniversalClient, log *slog.Logger, reg prometheus.Registerer) *Archive {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	a := &Archive{
		client:  client,
		log:     log,
		refused: rate.Sometimes{Interval: time.Second},
		metrics: &metrics{
			reads:    counter("sightglass_archive_reads_total", "Times that the history was read from Redis."),
			failures: counter("sightglass_archive_failures_total", "Times that Redis gave no history."),
			refused:  counter("sightglass_archive_refused_total", "Entries of the history that were passed over."),
		},
	}
	a.course = kept[Course]{fresh: Fresh, ask: a.ask}
	return a
}

// Read gives the course as it is in Redis, or was at most Fresh before now. While Redis is away it is the last one that
// is known; ErrUnavailable if none is.
func (a *Archive) Read(ctx context.Context, now time.Time) (*Course, error) {
	return a.course.read(ctx, now)
}

func (a *Archive) ask(ctx context.Context, before *Course) (*Course, error) {
	a.metrics.reads.Inc()
	members, err := a.client.ZRange(ctx, keys.History, -history.MaxEntries, -1).Result()
	if err != nil {
		a.metrics.failures.Inc()
		a.log.Warn("redis gives no history; serving what is known", "err", redisurl.Explain(err))
		return nil, err
	}
	if entries := a.decode(members); before == nil || !slices.Equal(entries, before.Entries) {
		return &Course{Entries: entries}, nil
	}
	return before, nil
}

// decode passes over what is no entry, or not in its place.
func (a *Archive) decode(members []string) []history.Entry {
	entries := make([]history.Entry, 0, len(members))
	for _, member := range members {
		e, err := history.Decode([]byte(member))
		if n := len(entries); err == nil && n > 0 && e.Timestamp <= entries[n-1].Timestamp {
			err = fmt.Errorf("timestamp %d after %d", e.Timestamp, entries[n-1].Timestamp)
		}
		if err != nil {
			a.metrics.refused.Inc()
			a.refused.Do(func() { a.log.Warn("passed over an entry of the history", "err", err) })
			continue
		}
		entries = append(entries, e)
	}
	return entries
}
