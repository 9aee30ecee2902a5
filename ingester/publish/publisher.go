package publish

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/daemon"
	"sightglass/shared/keys"
	"sightglass/shared/redisurl"
	"sightglass/shared/snapshot"
)

// A Publisher carries snapshots from the goroutine that computes them to Redis. It holds one: when Redis is slow or
// gone, newer ones replace it, and nobody waits. While another ingester reigns it stands by, and asks for the reign
// with each tick.
type Publisher struct {
	client  redis.UniversalClient
	throne  throne
	log     *slog.Logger
	metrics *metrics
	outage  daemon.Outage
	history *recorder
	state   *aside
	points  *aside
	evicts  *evictionWatch

	mu        sync.Mutex
	waiting   parcel         // the newest; without a snapshot if it was taken
	epoch     snapshot.Epoch // of our reign; empty while we stand by
	lastError error          // why Redis has not taken the last snapshot, nor said whose turn it is; nil: it has
	wake      chan struct{}  // has room for one: something is waiting

	standing bool // that we stand by was told

	newest    atomic.Pointer[snapshot.Epoch] // the latest that is known here; nil before the first claim
	published moment                         // when Redis last took a snapshot
	deferred  moment                         // when Redis last said that it is another ingester's turn
}

// A parcel is what is written to Redis at a time.
type parcel struct {
	epoch    snapshot.Epoch // in which the snapshot was computed; empty: standing by
	snapshot []byte
	state    []byte // of the engine; most of the time empty
	points   []byte // with their amounts; every other time empty
}

type metrics struct {
	published, replaced, failures, fenced, reigns, emptied prometheus.Counter
	lostKeys                                               *prometheus.CounterVec
	seconds                                                prometheus.Histogram
}

// The keys that an ingester notices the loss of, as a metric's label.
const (
	lostEpoch   = "epoch"
	lostHistory = "history"
)

// A moment is when something last happened. Its age does not change with the clock, which may be set back by hours.
type moment struct{ at atomic.Pointer[time.Time] }

func (m *moment) isNow() {
	now := time.Now()
	m.at.Store(&now)
}

// age is huge if it has never happened.
func (m *moment) age() time.Duration {
	if at := m.at.Load(); at != nil {
		return time.Since(*at)
	}
	return math.MaxInt64
}

// New makes a publisher that writes to client, and registers its metrics with reg. It remains the leader for lease after
// each snapshot; the first snapshot of another is there two ticks later at most: one to see that the lease is over, one
// to compute.
func New(client redis.UniversalClient, lease time.Duration, log *slog.Logger, reg prometheus.Registerer) *Publisher {
	with := promauto.With(reg)
	p := &Publisher{
		client:  client,
		throne:  throne{client: client, lease: lease},
		log:     log,
		outage:  daemon.Outage{Log: log},
		history: newRecorder(client, log, reg),
		state:   newAside(client, keys.Engine, "the engine's state", "sightglass_publish_state_failures_total", log, reg),
		points:  newAside(client, keys.Points, "the points' amounts", "sightglass_publish_points_failures_total", log, reg),
		evicts:  newEvictionWatch(client, log, reg),
		wake:    make(chan struct{}, 1),
		metrics: &metrics{
			published: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_publish_snapshots_total", Help: "Snapshots that Redis has accepted.",
			}),
			replaced: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_publish_replaced_total", Help: "Snapshots that a newer one replaced before Redis took them.",
			}),
			failures: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_publish_failures_total", Help: "Times that Redis failed to take a snapshot, or to say whose turn it is.",
			}),
			fenced: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_publish_fenced_total", Help: "Snapshots that Redis refused because our reign was over.",
			}),
			reigns: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_reigns_total", Help: "Times that this ingester was granted the reign.",
			}),
			emptied: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_publish_epoch_missing_total", Help: "Times that Redis held no epoch when this ingester was granted one: it was new, or had been emptied.",
			}),
			lostKeys: with.NewCounterVec(prometheus.CounterOpts{
				Name: "sightglass_publish_lost_keys_total", Help: "Times that a key was gone from Redis that this ingester had written shortly before.",
			}, []string{"key"}),
			seconds: with.NewHistogram(prometheus.HistogramOpts{
				Name: "sightglass_publish_seconds", Help: "Time that Redis took to accept a snapshot.",
				Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12),
			}),
		},
	}
	for _, key := range []string{lostEpoch, lostHistory} {
		p.metrics.lostKeys.WithLabelValues(key) // so that the first is seen as a rise
	}
	p.history.gone = p.metrics.lostKeys.WithLabelValues(lostHistory)
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sightglass_clock_behind_seconds", Help: "How far this machine's clock is behind the latest epoch known here; 0 if it is not.",
	}, func() float64 { return p.clockBehind().Seconds() })
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sightglass_leader", Help: "1 while this ingester's snapshots are the ones published, 0 while it stands by or cannot reach Redis.",
	}, func() float64 {
		if p.leads() {
			return 1
		}
		return 0
	})
	return p
}

// Epoch is that of our reign, for the next snapshot; empty while we stand by. It stays while Redis is away: whether
// another ingester has taken over meanwhile only Redis can tell.
func (p *Publisher) Epoch() snapshot.Epoch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.epoch
}

// Put hands over a tick's snapshot with its epoch, and the engine's state if it is time to keep it; both are copied.
// Put never blocks.
func (p *Publisher) Put(epoch snapshot.Epoch, encoded, state []byte) {
	p.mu.Lock()
	if len(p.waiting.snapshot) > 0 && p.waiting.epoch != "" {
		p.metrics.replaced.Inc()
	}
	p.waiting.epoch = epoch
	p.waiting.snapshot = append(p.waiting.snapshot[:0], encoded...)
	if len(state) > 0 {
		p.waiting.state = append(p.waiting.state[:0], state...)
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Age is the time since Redis took a snapshot, or said that it is another ingester's turn; huge before the first.
func (p *Publisher) Age() time.Duration {
	return min(p.published.age(), p.deferred.age())
}

// LastError is why Redis did not take the last snapshot that it was given, nor say that it is another ingester's turn; nil
// if it did.
func (p *Publisher) LastError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastError
}

// leads reports whether our snapshots are the ones published, as far as can be known without asking.
func (p *Publisher) leads() bool {
	return p.Epoch() != "" && p.published.age() < p.throne.lease
}

// PutPoints hands over the newest points with their amounts, as package rounds encodes them; they are copied. They go to
// Redis after the next snapshot that is Put, if Redis takes that. PutPoints never blocks.
func (p *Publisher) PutPoints(encoded []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.points = append(p.waiting.points[:0], encoded...)
}

// take swaps what is waiting for the room of a parcel that was sent.
func (p *Publisher) take(sent parcel) parcel {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := p.waiting
	p.waiting = parcel{snapshot: sent.snapshot[:0], state: sent.state[:0], points: sent.points[:0]}
	return waiting
}

// Run publishes until ctx ends, and then gives up the reign. A failure is counted and told; the next tick is the next
// try.
func (p *Publisher) Run(ctx context.Context) {
	var beside sync.WaitGroup
	defer beside.Wait()
	for _, run := range []func(context.Context){p.history.run, p.state.run, p.points.run, p.evicts.run} {
		beside.Go(func() { run(ctx) })
	}
	defer p.abdicate(ctx)
	p.claim(ctx)
	var sending parcel
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		sending = p.take(sending)
		switch {
		case len(sending.snapshot) == 0:
		case p.Epoch() == "":
			p.claim(ctx)
		case sending.epoch == p.Epoch(): // else it was computed before the reign began
			p.publish(ctx, sending)
		}
	}
}

// claim asks for the reign. The next tick's snapshot is the first of it.
func (p *Publisher) claim(ctx context.Context) {
	granted, err := p.throne.claim(ctx)
	newest := p.throne.latest
	p.newest.Store(&newest)
	if p.failed(ctx, err) {
		return
	}
	if granted.epoch == "" {
		p.standBy()
		return
	}
	p.standing = false
	p.enter(granted.epoch)
	p.metrics.reigns.Inc()
	p.log.Info("publishing from now on", "epoch", granted.epoch)
	p.logGrant(granted)
}

// logGrant says what is unusual about a grant: edges accept an epoch that is lower than the one they show only after
// some time (see snapshot.StepBackAfter), and why it is so can be seen here alone.
func (p *Publisher) logGrant(granted grant) {
	if granted.before == "" {
		p.metrics.emptied.Inc()
		if granted.known == "" {
			p.log.Info("redis held no epoch: it is new, or was emptied; edges that have seen a higher epoch show this one after "+stepBackAfter, "epoch", granted.epoch)
		} else {
			p.log.Warn("redis has lost its data: it held no epoch; the new one is higher than the last known here", "last", granted.known, "epoch", granted.epoch)
		}
	}
	if behind := granted.epoch.Ahead(time.Now()); behind >= time.Second {
		p.log.Warn("the clock is behind the last epoch, or was ahead when that began; epochs count on from there until the clock has caught up", "behind", behind.Round(time.Second))
	}
}

// stepBackAfter is snapshot.StepBackAfter in words.
var stepBackAfter = fmt.Sprintf("%g s", snapshot.StepBackAfter.Seconds())

// clockBehind is how far this machine's clock is behind the latest epoch that is known here.
func (p *Publisher) clockBehind() time.Duration {
	if newest := p.newest.Load(); newest != nil {
		return newest.Ahead(time.Now())
	}
	return 0
}

func (p *Publisher) standBy() {
	p.deferred.isNow()
	p.setLastError(nil)
	p.outage.Recovered("redis answers again")
	p.history.forget()
	if !p.standing {
		p.log.Info("another ingester publishes; standing by")
	}
	p.standing = true
}

// enter begins a reign, or ends it with an empty epoch.
func (p *Publisher) enter(epoch snapshot.Epoch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch = epoch
}

func (p *Publisher) publish(ctx context.Context, sending parcel) {
	began := time.Now()
	outcome, err := p.throne.publish(ctx, sending.epoch, sending.snapshot)
	if p.failed(ctx, err) {
		return
	}
	if outcome != outcomePublished {
		p.metrics.fenced.Inc()
		p.enter("")
		p.logRefusal(outcome, sending.epoch)
		p.claim(ctx)
		return
	}
	p.published.isNow()
	p.setLastError(nil)
	p.metrics.published.Inc()
	p.metrics.seconds.Observe(time.Since(began).Seconds())
	p.outage.Recovered("redis takes snapshots again")
	p.state.put(sending.state)
	p.points.put(sending.points)
	p.history.nudge()
}

func (p *Publisher) logRefusal(outcome int, epoch snapshot.Epoch) {
	if outcome == outcomeLost {
		p.metrics.lostKeys.WithLabelValues(lostEpoch).Inc()
		p.log.Warn("redis has lost the epoch under which this ingester published: it was emptied, has restarted without its data, or evicts keys", "epoch", epoch)
		return
	}
	p.log.Warn("our reign is over: another ingester publishes, or redis has gone back to old data", "epoch", epoch)
}

// failed counts and tells an error, but for that of our own end.
func (p *Publisher) failed(ctx context.Context, err error) bool {
	if err != nil && ctx.Err() == nil {
		p.setLastError(redisurl.Explain(err))
		p.metrics.failures.Inc()
		p.outage.Failed("redis does not take snapshots; going on, and trying with each new one", err)
	}
	return err != nil
}

func (p *Publisher) setLastError(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastError = err
}

// abdicate lets another ingester take over at once.
func (p *Publisher) abdicate(ctx context.Context) {
	epoch := p.Epoch()
	if epoch == "" {
		return
	}
	p.enter("")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := p.throne.release(ctx, epoch); err != nil {
		p.log.Warn("redis does not take back our reign; another ingester waits until it runs out", "err", redisurl.Explain(err))
	}
}
