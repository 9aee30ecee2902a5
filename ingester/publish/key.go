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

// A keyWriter writes one key beside the snapshots: the newest value only, in a goroutine of its own. In a Cluster the key
// may be on another node than the snapshots, and that node's failures must not cost one.
type keyWriter struct {
	client   redis.UniversalClient
	key      string
	what     string // the value is, in the log
	outage   daemon.Outage
	failures prometheus.Counter

	mu      sync.Mutex
	waiting []byte        // empty: none
	wake    chan struct{} // has room for one: something is waiting
}

func newKeyWriter(client redis.UniversalClient, key, what, metric string, log *slog.Logger, reg prometheus.Registerer) *keyWriter {
	return &keyWriter{
		client: client,
		key:    key,
		what:   what,
		outage: daemon.Outage{Log: log},
		wake:   make(chan struct{}, 1),
		failures: promauto.With(reg).NewCounter(prometheus.CounterOpts{
			Name: metric, Help: "Times that Redis did not accept " + what + ".",
		}),
	}
}

// put hands over a value, which is copied; an empty one is ignored. It never blocks.
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

// run writes what waits until ctx ends. A failed write is not retried: the next value is the next try.
func (w *keyWriter) run(ctx context.Context) {
	var value []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		w.mu.Lock()
		value, w.waiting = w.waiting, value[:0]
		w.mu.Unlock()
		w.write(ctx, value)
	}
}

func (w *keyWriter) write(ctx context.Context, value []byte) {
	writing, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := w.client.Set(writing, w.key, value, retention).Err()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.failures.Inc()
		w.outage.Failed("redis does not accept "+w.what+"; snapshots go on without", err)
	default:
		w.outage.Recovered("redis accepts " + w.what + " again")
	}
}
