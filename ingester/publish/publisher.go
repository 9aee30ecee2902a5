package publish

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
)

// A Publisher carries snapshots from the goroutine that computes them to Redis. It holds one: when Redis is slow or
// gone, newer ones replace it, and nobody waits.
type Publisher struct {
	client  redis.UniversalClient
	metrics *metrics
	outage  outage
	history *recorder

	mu      sync.Mutex
	waiting parcel        // the newest; without a snapshot if it was taken
	wake    chan struct{} // has room for one: something is waiting

	accepted atomic.Int64 // when Redis last took a snapshot, unix nanoseconds
}

// A parcel is what is written to Redis at a time.
type parcel struct {
	snapshot []byte
	state    []byte // of the engine; most of the time empty
}

type metrics struct {
	published, replaced, failures prometheus.Counter
	seconds                       prometheus.Histogram
}

// New makes a publisher that writes to client and registers its metrics with reg.
func New(client redis.UniversalClient, log *slog.Logger, reg prometheus.Registerer) *Publisher {
	with := promauto.With(reg)
	return &Publisher{
		client:  client,
		outage:  outage{log: log},
		history: newRecorder(client, log, reg),
		wake:    make(chan struct{}, 1),
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

// Put hands over a snapshot, and the engine's state if it is time to keep it; both are copied. Put never blocks.
func (p *Publisher) Put(snapshot, state []byte) {
	p.mu.Lock()
	if len(p.waiting.snapshot) > 0 {
		p.metrics.replaced.Inc()
	}
	p.waiting.snapshot = append(p.waiting.snapshot[:0], snapshot...)
	if len(state) > 0 {
		p.waiting.state = append(p.waiting.state[:0], state...)
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Age is the time since Redis took a snapshot; huge before the first.
func (p *Publisher) Age() time.Duration { return time.Since(time.Unix(0, p.accepted.Load())) }

// take swaps what is waiting for the room of a parcel that was sent.
func (p *Publisher) take(sent parcel) parcel {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := p.waiting
	p.waiting = parcel{snapshot: sent.snapshot[:0], state: sent.state[:0]}
	return waiting
}

// Run publishes until ctx ends. A failure is counted and told; the next snapshot is the next try.
func (p *Publisher) Run(ctx context.Context) {
	var recording sync.WaitGroup
	defer recording.Wait()
	recording.Go(func() { p.history.run(ctx) })
	var sending parcel
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		if sending = p.take(sending); len(sending.snapshot) > 0 {
			p.publish(ctx, sending)
		}
	}
}

func (p *Publisher) publish(ctx context.Context, sending parcel) {
	began := time.Now()
	err := write(ctx, p.client, sending.snapshot, sending.state)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		p.metrics.failures.Inc()
		p.outage.goesOn("redis does not take snapshots; going on, and trying with each new one", err)
		return
	}
	p.accepted.Store(time.Now().UnixNano())
	p.metrics.published.Inc()
	p.metrics.seconds.Observe(time.Since(began).Seconds())
	if p.outage.isOver("redis takes snapshots again") {
		p.history.nudge()
	}
}
