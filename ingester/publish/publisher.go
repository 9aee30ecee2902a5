// Package publish puts snapshots on Redis: always the newest, never an older one after a newer one, and of several
// ingesters only the leader's.
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

	"sightglass/ingester/leader"
	"sightglass/shared/contract"
	"sightglass/shared/daemon"
	"sightglass/shared/redisurl"
)

// A Tick is what the engine computed at one tick. The receiver owns it.
type Tick struct {
	Snapshot contract.Snapshot      // without Seq and Epoch, which the publisher sets
	State    []byte                 // of the engine; nil at most ticks
	Points   []contract.PointAmount // of the snapshot, with their amounts; nil at every other tick
}

// A Publisher writes ticks to Redis while it is the leader, and runs for leader with each tick while it is not. It holds
// one tick: while Redis is slow or gone, newer ones replace it.
type Publisher struct {
	client   redis.UniversalClient
	election *leader.Election
	lease    time.Duration
	log      *slog.Logger
	metrics  *metrics
	outage   daemon.Outage
	history  *historyWriter
	state    *keyWriter
	points   *keyWriter
	eviction *evictionWatch

	ticks chan *Tick // room for one: the newest

	// Owned by Run.
	epoch     contract.Epoch // of our leadership; empty while another ingester is the leader
	seq       uint64         // of the last snapshot that was sent to Redis under the epoch
	onStandby bool           // and this was logged
	encoded   []byte
	pointsBuf []byte

	// Read by other goroutines.
	leads     atomic.Bool                    // epoch is not empty
	latest    atomic.Pointer[contract.Epoch] // the latest epoch known here; nil before the first election
	lastError atomic.Pointer[error]          // nil: Redis accepted the last snapshot, or has another leader
	published moment                         // when Redis last accepted a snapshot
	deferred  moment                         // when Redis last said that another ingester is the leader
}

type metrics struct {
	published, replaced, failures, fenced, elections, epochMissing prometheus.Counter
	lostKeys                                                       *prometheus.CounterVec
	seconds                                                        prometheus.Histogram
}

// The keys whose loss an ingester notices, as a metric's label.
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

// New makes a publisher that writes to client, and registers its metrics with reg. It remains the leader for the lease
// after each snapshot; the first snapshot of another leader follows at most two ticks later: one to see that the lease is
// over, one to publish.
func New(client redis.UniversalClient, lease time.Duration, log *slog.Logger, reg prometheus.Registerer) *Publisher {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	p := &Publisher{
		client:   client,
		election: leader.New(client, lease),
		lease:    lease,
		log:      log,
		outage:   daemon.Outage{Log: log},
		state:    newKeyWriter(client, contract.KeyEngine, "the engine's state", "sightglass_publish_state_failures_total", log, reg),
		points:   newKeyWriter(client, contract.KeyPoints, "the points' amounts", "sightglass_publish_points_failures_total", log, reg),
		eviction: newEvictionWatch(client, log, reg),
		ticks:    make(chan *Tick, 1),
		metrics: &metrics{
			published:    counter("sightglass_publish_snapshots_total", "Snapshots that Redis accepted."),
			replaced:     counter("sightglass_publish_replaced_total", "Snapshots that a newer one replaced before they were sent to Redis."),
			failures:     counter("sightglass_publish_failures_total", "Snapshots and elections that Redis failed to respond to."),
			fenced:       counter("sightglass_publish_fenced_total", "Snapshots that Redis rejected because this ingester is no longer the leader."),
			elections:    counter("sightglass_leader_elections_total", "Times that this ingester was elected leader."),
			epochMissing: counter("sightglass_publish_epoch_missing_total", "Times that Redis held no epoch when this ingester was elected: Redis was new, or had been emptied."),
			lostKeys: with.NewCounterVec(prometheus.CounterOpts{
				Name: "sightglass_publish_lost_keys_total", Help: "Times that a key was gone from Redis that this ingester had written shortly before.",
			}, []string{"key"}),
			seconds: with.NewHistogram(prometheus.HistogramOpts{
				Name: "sightglass_publish_seconds", Help: "Time that Redis took to accept a snapshot.",
				Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12),
			}),
		},
	}
	p.metrics.lostKeys.WithLabelValues(lostEpoch) // so that the first is seen as a rise
	p.history = newHistoryWriter(client, p.metrics.lostKeys.WithLabelValues(lostHistory), log, reg)
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sightglass_clock_behind_seconds", Help: "How far this machine's clock is behind the latest epoch known here; 0 if it is not.",
	}, func() float64 {
		if latest := p.latest.Load(); latest != nil {
			return latest.Ahead(time.Now()).Seconds()
		}
		return 0
	})
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sightglass_leader", Help: "1 while this ingester's snapshots are the ones published, 0 while it is on standby or cannot reach Redis.",
	}, func() float64 {
		if p.leads.Load() && p.published.age() < p.lease {
			return 1
		}
		return 0
	})
	return p
}

// Put hands a tick over; it never blocks. A tick that Run has not received yet is replaced, but
// for a state and points that are not in the newer one, and for its entry in the history.
func (p *Publisher) Put(t *Tick) {
	if p.leads.Load() {
		p.history.add(&t.Snapshot)
	}
	for {
		select {
		case p.ticks <- t:
			return
		default:
		}
		select {
		case old := <-p.ticks:
			t.keep(old)
			if p.leads.Load() {
				p.metrics.replaced.Inc()
			}
		default: // Run was faster
		}
	}
}

// keep takes over what an older tick has and t lacks.
func (t *Tick) keep(old *Tick) {
	if t.State == nil {
		t.State = old.State
	}
	if t.Points == nil {
		t.Points = old.Points
	}
}

// Age is the time since Redis accepted a snapshot, or said that another ingester is the leader; huge before the first.
func (p *Publisher) Age() time.Duration { return min(p.published.age(), p.deferred.age()) }

// LastError is why Redis did not accept the last snapshot, nor say that another ingester is the leader; nil if it did.
func (p *Publisher) LastError() error {
	if err := p.lastError.Load(); err != nil {
		return *err
	}
	return nil
}

// Run publishes until ctx ends, and then resigns. A failure is counted and logged; the next tick is the next try.
func (p *Publisher) Run(ctx context.Context) {
	var writers sync.WaitGroup
	defer writers.Wait()
	for _, run := range []func(context.Context){p.history.run, p.state.run, p.points.run, p.eviction.run} {
		writers.Go(func() { run(ctx) })
	}
	defer p.resign(ctx)
	p.claim(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-p.ticks:
			p.take(ctx, t)
		}
	}
}

// take publishes a tick, or runs for leader with it.
func (p *Publisher) take(ctx context.Context, t *Tick) {
	if p.epoch == "" {
		p.claim(ctx)
		select {
		case newer := <-p.ticks: // the election may have taken a while
			newer.keep(t)
			t = newer
		default:
		}
		if p.epoch == "" {
			return
		}
	}
	p.publish(ctx, t)
}

// claim runs for leader.
func (p *Publisher) claim(ctx context.Context) {
	result, err := p.election.Claim(ctx)
	latest := p.election.Latest()
	p.latest.Store(&latest)
	switch {
	case p.failed(ctx, err):
	case result.Epoch == "":
		p.deferred.isNow()
		p.recovered("redis responds again")
		p.history.forget()
		if !p.onStandby {
			p.log.Info("on standby: another ingester is the leader")
		}
		p.onStandby = true
	default:
		p.onStandby = false
		p.setEpoch(result.Epoch)
		p.metrics.elections.Inc()
		p.log.Info("elected leader", "epoch", result.Epoch)
		p.logElection(result)
	}
}

// logElection says what is unusual about an election. Edges accept an epoch that is lower than the one they show only
// after contract.StepBackAfter, and the reason can be seen here alone.
func (p *Publisher) logElection(r leader.Result) {
	if r.Before == "" {
		p.metrics.epochMissing.Inc()
		if r.Known == "" {
			p.log.Info(fmt.Sprintf("redis held no epoch: it is new, or was emptied; edges that have seen a higher epoch show this one after %g s",
				contract.StepBackAfter.Seconds()), "epoch", r.Epoch)
		} else {
			p.log.Warn("redis has lost its data: it held no epoch; the new one is higher than the last known here", "last", r.Known, "epoch", r.Epoch)
		}
	}
	if behind := r.Epoch.Ahead(time.Now()); behind >= time.Second {
		p.log.Warn("the clock is behind the last epoch, or was ahead when that began; epochs count on from there until the clock has caught up", "behind", behind.Round(time.Second))
	}
}

// setEpoch begins a term, or ends it with an empty epoch.
func (p *Publisher) setEpoch(epoch contract.Epoch) {
	p.epoch, p.seq = epoch, 0
	p.leads.Store(epoch != "")
}

func (p *Publisher) publish(ctx context.Context, t *Tick) {
	began := time.Now()
	p.seq++ // also after a failure: Redis may have accepted the snapshot all the same
	t.Snapshot.Epoch, t.Snapshot.Seq = p.epoch, p.seq
	p.encoded = t.Snapshot.AppendJSON(p.encoded[:0])
	outcome, err := p.election.Publish(ctx, p.epoch, p.encoded, retention)
	if p.failed(ctx, err) {
		return
	}
	switch outcome {
	case leader.Published:
	case leader.EpochMissing:
		p.metrics.lostKeys.WithLabelValues(lostEpoch).Inc()
		p.log.Warn("redis has lost the epoch under which this ingester published: it was emptied, has restarted without its data, or evicts keys", "epoch", p.epoch)
	default:
		p.log.Warn("lost leadership: another ingester publishes, or redis has gone back to old data", "epoch", p.epoch)
	}
	if outcome != leader.Published {
		p.metrics.fenced.Inc()
		p.setEpoch("")
		p.claim(ctx)
		return
	}
	p.published.isNow()
	p.metrics.published.Inc()
	p.metrics.seconds.Observe(time.Since(began).Seconds())
	p.recovered("redis accepts snapshots again")
	p.state.put(t.State)
	if t.Points != nil {
		p.pointsBuf = contract.AppendPointAmounts(p.pointsBuf[:0], t.Points)
		p.points.put(p.pointsBuf)
	}
	p.history.flush()
}

// failed counts and logs an error, unless ctx has ended.
func (p *Publisher) failed(ctx context.Context, err error) bool {
	if err != nil && ctx.Err() == nil {
		explained := redisurl.Explain(err)
		p.lastError.Store(&explained)
		p.metrics.failures.Inc()
		p.outage.Failed("redis does not accept snapshots; retrying with each tick", err)
	}
	return err != nil
}

func (p *Publisher) recovered(message string) {
	p.lastError.Store(nil)
	p.outage.Recovered(message)
}

// resign lets a candidate be elected at once.
func (p *Publisher) resign(ctx context.Context) {
	if p.epoch == "" {
		return
	}
	epoch := p.epoch
	p.setEpoch("")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := p.election.Resign(ctx, epoch); err != nil {
		p.log.Warn("cannot resign; another ingester is elected when the lease expires", "err", redisurl.Explain(err))
	}
}
