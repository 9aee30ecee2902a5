package publish

import (
	"context"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/daemon"
)

// A keyWriter writes one key separately from the snapshots: only the newest value, in its own goroutine. In a Cluster
// the key may be on another node than the snapshots, and failures of that node must not cost a snapshot.
type keyWriter struct {
	client   redis.UniversalClient
	key      string
	what     string // describes the value in the log
	outage   daemon.Outage
	failures prometheus.Counter

	mu      sync.Mutex
	waiting []byte        // empty: none
	written []byte        // the buffer of the last written value, which the next one reuses
	wake    chan struct{} // capacity 1: a value is waiting
}

func newKeyWriter(client redis.UniversalClient, key, what, metric string, log *slog.Logger, reg prometheus.Registerer) *keyWriter {
	return &keyWriter{
		client: client,
		key:    key,
		what:   what,
		outage: daemon.Outage{Log: log},
		wake:   make(chan struct{}, 1),
		failures: promauto.With(reg).NewCounter(prometheus.CounterOpts{
			Name: metric, Help: "Failed writes to Redis of " + what + ".",
		}),
	}
}

// put stores a copy of a value for run, which replaces one that still waits. An empty value is ignored. It never
// blocks.
func (w *keyWriter) put(value []byte) {
	if len(value) == 0 {
		return
	}
	w.mu.Lock()
	w.waiting = append(w.waiting[:0], value...)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes the waiting values until ctx ends. A failed write is not retried: the next value is the next try.
func (w *keyWriter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			w.writeWaiting(ctx)
		}
	}
}

// writeWaiting writes the waiting value, if there is one. It is for one goroutine at a time.
func (w *keyWriter) writeWaiting(ctx context.Context) {
	w.mu.Lock()
	value := w.waiting
	w.waiting, w.written = w.written[:0], value
	w.mu.Unlock()
	if len(value) == 0 {
		return
	}
	writing, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := w.client.Set(writing, w.key, value, retention).Err()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.failures.Inc()
		w.outage.Failed("redis does not accept "+w.what+"; snapshots continue without it", err)
	default:
		w.outage.Recovered("redis accepts " + w.what + " again")
	}
}
