package publish

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/daemon"
)

// An aside writes one key beside the snapshots: the newest value only, in a goroutine of its own. In a Cluster the key
// may be on another node than the snapshots, and that node's troubles must not cost one.
type aside struct {
	client   redis.UniversalClient
	key      string
	what     string // it is, in the log
	outage   daemon.Outage
	failures prometheus.Counter

	mu      sync.Mutex
	waiting []byte        // empty if it was taken
	wake    chan struct{} // has room for one: something is waiting
}

func newAside(client redis.UniversalClient, key, what, metric string, log *slog.Logger, reg prometheus.Registerer) *aside {
	return &aside{
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

// put hands over a value, which is copied; an empty one is none. It never blocks.
func (a *aside) put(value []byte) {
	if len(value) == 0 {
		return
	}
	a.mu.Lock()
	a.waiting = append(a.waiting[:0], value...)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run writes what waits until ctx ends. What fails is not tried again: the next value is the next try.
func (a *aside) run(ctx context.Context) {
	var value []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		}
		a.mu.Lock()
		value, a.waiting = a.waiting, value[:0]
		a.mu.Unlock()
		a.write(ctx, value)
	}
}

func (a *aside) write(ctx context.Context, value []byte) {
	trying, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := a.client.Set(trying, a.key, value, keep).Err()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		a.failures.Inc()
		a.outage.Failed("redis does not take "+a.what+"; the snapshots go on without", err)
	default:
		a.outage.Recovered("redis takes " + a.what + " again")
	}
}

// patience bounds each thing that is asked of Redis, with all that the client tries on the way: on a Cluster those are
// several attempts at several nodes.
const patience = 2 * time.Second
