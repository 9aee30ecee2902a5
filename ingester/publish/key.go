package publish

import (
	"context"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/daemon"
	"sightglass/shared/redisurl"
)

// A keyWriter writes one key separately from the snapshots: only the newest value, in its own goroutine. In a Cluster
// the key may be on another node than the snapshots, and failures of that node must not cost a snapshot.
type keyWriter struct {
	client   redis.UniversalClient
	key      string
	fleeting bool   // soon replaced, so that it need not outlive Redis
	what     string // describes the value in the log
	outage   daemon.Outage
	failures prometheus.Counter

	mu      sync.Mutex
	waiting []byte        // empty: none
	written []byte        // the buffer of the last written value, which the next one reuses
	wake    chan struct{} // capacity 1: a value is waiting
}

// setFleeting sets a key that is soon replaced: it goes to replicas, but not to an append-only file. KEYS: the key. ARGV:
// its value, its time to live in ms.
var setFleeting = redis.NewScript(`
if redis.set_repl then
  redis.set_repl(redis.REPL_SLAVE)
end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
`)

func newKeyWriter(client redis.UniversalClient, key string, fleeting bool, what, metric string, log *slog.Logger, reg prometheus.Registerer) *keyWriter {
	return &keyWriter{
		client: client, key: key, fleeting: fleeting, what: what,
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
	var err error
	if w.fleeting {
		err = setFleeting.Run(writing, w.client, []string{w.key}, value, retention.Milliseconds()).Err()
	} else {
		err = w.client.Set(writing, w.key, value, retention).Err()
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.failures.Inc()
		w.outage.Failed("redis does not accept "+w.what+"; snapshots continue without it", redisurl.Explain(err))
	default:
		w.outage.Recovered("redis accepts " + w.what + " again")
	}
}
