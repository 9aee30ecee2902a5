package publish

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"
)

// A Publisher carries snapshots from the goroutine that computes them to Redis. It holds one: when Redis is slow or
// gone, newer ones replace it, and nobody waits.
type Publisher struct {
	client  redis.UniversalClient
	log     *slog.Logger
	metrics *metrics
	failing bool
	remind  rate.Sometimes

	mu      sync.Mutex
	waiting []byte        // the newest snapshot, empty if it was taken
	wake    chan struct{} // has room for one: "waiting is not empty"
}

type metrics struct {
	published, replaced, failures prometheus.Counter
	seconds                       prometheus.Histogram
}

// New makes a publisher that writes to client and registers its metrics with reg.
func New(client redis.UniversalClient, log *slog.Logger, reg prometheus.Registerer) *Publisher {
	with := promauto.With(reg)
	return &Publisher{
		client: client,
		log:    log,
		remind: rate.Sometimes{Interval: time.Minute},
		wake:   make(chan struct{}, 1),
		metrics: &metrics{
			published: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_publish_snapshots_total", Help: "Snapshots that Redis has accepted.",
			}),
			replaced: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_publish_replaced_total", Help: "Snapshots that a newer one replaced before Redis took them.",
			}),
			failures: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_publish_failures_total", Help: "Snapshots that Redis did not accept.",
			}),
			seconds: with.NewHistogram(prometheus.HistogramOpts{
				Name: "sightglass_publish_seconds", Help: "Time that Redis took to accept a snapshot.",
				Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12),
			}),
		},
	}
}

// Put hands over a snapshot; it is copied. Put never blocks.
func (p *Publisher) Put(snapshot []byte) {
	p.mu.Lock()
	if len(p.waiting) > 0 {
		p.metrics.replaced.Inc()
	}
	p.waiting = append(p.waiting[:0], snapshot...)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run publishes until ctx ends. A failure is counted and told once when it begins, once a minute while it lasts and
// once when it is over; the next snapshot is the next try.
func (p *Publisher) Run(ctx context.Context) {
	var sending []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		p.mu.Lock()
		sending, p.waiting = p.waiting, sending[:0]
		p.mu.Unlock()
		if len(sending) > 0 {
			p.publish(ctx, sending)
		}
	}
}

func (p *Publisher) publish(ctx context.Context, snapshot []byte) {
	began := time.Now()
	err := write(ctx, p.client, snapshot)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		p.metrics.failures.Inc()
		if !p.failing {
			p.remind = rate.Sometimes{Interval: time.Minute}
		}
		p.failing = true
		p.remind.Do(func() {
			p.log.Error("redis does not take snapshots; going on, and trying with each new one", "err", err)
		})
		return
	}
	p.metrics.published.Inc()
	p.metrics.seconds.Observe(time.Since(began).Seconds())
	if p.failing {
		p.failing = false
		p.log.Info("redis takes snapshots again")
	}
}
