// Package publish writes snapshots to Redis: always the newest, never an older one after a newer one, and only while
// this ingester is the leader.
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

// A Tick is the result of one tick of the engine. The receiver owns it.
type Tick struct {
	Snapshot contract.Snapshot      // without Seq and Epoch, which the publisher sets
	State    []byte                 // of the engine; nil at most ticks
	Points   []contract.PointAmount // of the snapshot, with their amounts; nil at every other tick
	Evidence *contract.Evidence     // of the price; nil at most ticks
}

// A Publisher writes ticks to Redis while it is the leader. While it is not, it claims the leadership with each tick.
// It holds one tick: while Redis is slow or down, newer ticks replace it.
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
	evidence *keyWriter
	eviction *evictionWatch

	ticks chan *Tick // capacity 1: the newest

	// Owned by Run.
	epoch     contract.Epoch // of our leadership; empty while another ingester is the leader
	seq       uint64         // of the last snapshot that was sent to Redis under the epoch
	onStandby bool           // on standby, and the log says so
	encoded   []byte
	besideBuf []byte // of what is written beside the snapshots

	// Read by other goroutines.
	leads     atomic.Bool                    // epoch is not empty
	latest    atomic.Pointer[contract.Epoch] // the latest known epoch; nil before the first election
	lastError atomic.Pointer[error]          // nil: Redis accepted the last snapshot, or has another leader
	published moment                         // when Redis last accepted a snapshot
	deferred  moment                         // when another ingester was last found to be the leader
}

type metrics struct {
	published, replaced, failures, fenced, elections, epochMissing prometheus.Counter
	lostKeys                                                       *prometheus.CounterVec
	seconds                                                        prometheus.Histogram
}

// The lost keys that an ingester detects, as labels of the metric.
const (
	lostEpoch   = "epoch"
	lostHistory = "history"
)

// A moment is the time of the last occurrence of something. Its age does not depend on the wall clock, which may be set
// back.
type moment struct{ at atomic.Pointer[time.Time] }

func (m *moment) isNow() {
	now := time.Now()
	m.at.Store(&now)
}

// age returns the time since the moment; math.MaxInt64 if it never occurred.
func (m *moment) age() time.Duration {
	if at := m.at.Load(); at != nil {
		return time.Since(*at)
	}
	return math.MaxInt64
}

// New returns a publisher that writes to client, and registers its metrics with reg. It remains the leader for the
// lease after each snapshot. After a leader fails, the first snapshot of the next one is published at most two ticks
// after the lease has expired: one tick to claim, one to publish.
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
		state:    newKeyWriter(client, contract.KeyEngine, false, "the engine's state", "sightglass_publish_state_failures_total", log, reg),
		points:   newKeyWriter(client, contract.KeyPoints, true, "the point amounts", "sightglass_publish_points_failures_total", log, reg),
		evidence: newKeyWriter(client, contract.KeyEvidence, true, "the evidence", "sightglass_publish_evidence_failures_total", log, reg),
		eviction: newEvictionWatch(client, log, reg),
		ticks:    make(chan *Tick, 1),
		metrics: &metrics{
			published:    counter("sightglass_publish_snapshots_total", "Snapshots that Redis accepted."),
			replaced:     counter("sightglass_publish_replaced_total", "Snapshots that a newer one replaced before they were sent to Redis."),
			failures:     counter("sightglass_publish_failures_total", "Snapshots and elections without a response from Redis."),
			fenced:       counter("sightglass_publish_fenced_total", "Snapshots that Redis rejected because this ingester is no longer the leader."),
			elections:    counter("sightglass_leader_elections_total", "Times that this ingester was elected leader."),
			epochMissing: counter("sightglass_publish_epoch_missing_total", "Times that Redis held no epoch when this ingester was elected: Redis was new, or had been emptied."),
			lostKeys: with.NewCounterVec(prometheus.CounterOpts{
				Name: "sightglass_publish_lost_keys_total", Help: "Times that a key was missing in Redis which this ingester had written shortly before.",
			}, []string{"key"}),
			seconds: with.NewHistogram(prometheus.HistogramOpts{
				Name: "sightglass_publish_seconds", Help: "Time that Redis took to accept a snapshot.",
				Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12),
			}),
		},
	}
	p.metrics.lostKeys.WithLabelValues(lostEpoch) // a series that starts at 0 shows the first one as an increase
	p.history = newHistoryWriter(client, p.metrics.lostKeys.WithLabelValues(lostHistory), log, reg)
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sightglass_clock_behind_seconds", Help: "How far this machine's clock is behind the latest known epoch; 0 if it is not.",
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

// Put passes a tick to Run. It never blocks. The tick replaces one that Run has not received yet, but keeps its state,
// its points, its evidence and its history entry.
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

// keep copies from an older tick what t lacks.
func (t *Tick) keep(old *Tick) {
	if t.State == nil {
		t.State = old.State
	}
	if t.Points == nil {
		t.Points = old.Points
	}
	if t.Evidence == nil {
		t.Evidence = old.Evidence
	}
}

// Age returns the time since Redis accepted a snapshot or named another leader; math.MaxInt64 before the first.
func (p *Publisher) Age() time.Duration { return min(p.published.age(), p.deferred.age()) }

// Leads reports whether this ingester is the leader.
func (p *Publisher) Leads() bool { return p.leads.Load() }

// LastError returns the error of the last snapshot or election; nil if Redis accepted the snapshot or named another
// leader.
func (p *Publisher) LastError() error {
	if err := p.lastError.Load(); err != nil {
		return *err
	}
	return nil
}

// Run publishes until ctx ends. Then it publishes the last tick, writes what still waits, and resigns, all within a
// second. A failure is counted and logged; the next tick is the next try.
func (p *Publisher) Run(ctx context.Context) {
	var writers sync.WaitGroup
	for _, run := range []func(context.Context){p.history.run, p.state.run, p.points.run, p.evidence.run, p.eviction.run} {
		writers.Go(func() { run(ctx) })
	}
	p.claim(ctx)
	var last *Tick
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case last = <-p.ticks:
			p.take(ctx, last)
		}
	}
	writers.Wait()
	p.finish(ctx, last)
}

// take publishes a tick, or claims the leadership with it.
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

// claim claims the leadership.
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
		p.history.elected()
		p.metrics.elections.Inc()
		p.log.Info("elected leader", "epoch", result.Epoch)
		p.logElection(result)
	}
}

// logElection logs what is unusual about an election. Edges accept a lower epoch only after contract.StepBackAfter, and
// only the new leader can log the reason.
func (p *Publisher) logElection(r leader.Result) {
	if r.Before == "" {
		p.metrics.epochMissing.Inc()
		if r.Known == "" {
			p.log.Info(fmt.Sprintf("redis held no epoch: it is new, or was emptied; edges that have seen a higher epoch accept this one after %g s",
				contract.StepBackAfter.Seconds()), "epoch", r.Epoch)
		} else {
			p.log.Warn("redis has lost its data: it held no epoch; the new one is higher than the last known here", "last", r.Known, "epoch", r.Epoch)
		}
	}
	if behind := r.Epoch.Ahead(time.Now()); behind >= time.Second {
		p.log.Warn("the clock is behind the last epoch, or was ahead when that one started; epochs are counted up from it until the clock has caught up", "behind", behind.Round(time.Second))
	}
}

// setEpoch starts a term, or ends it with an empty epoch.
func (p *Publisher) setEpoch(epoch contract.Epoch) {
	p.epoch, p.seq = epoch, 0
	p.leads.Store(epoch != "")
}

func (p *Publisher) publish(ctx context.Context, t *Tick) {
	began := time.Now()
	p.seq++ // after a failure too: Redis may have accepted the snapshot
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
		p.besideBuf = contract.AppendPointAmounts(p.besideBuf[:0], t.Points)
		p.points.put(p.besideBuf)
	}
	if t.Evidence != nil {
		p.besideBuf = t.Evidence.AppendJSON(p.besideBuf[:0])
		p.evidence.put(p.besideBuf)
	}
	p.history.flush()
}

// failed counts and logs an error, unless ctx has ended.
func (p *Publisher) failed(ctx context.Context, err error) bool {
	if err != nil && ctx.Err() == nil {
		explained := redisurl.Explain(err)
		p.lastError.Store(&explained)
		p.metrics.failures.Inc()
		p.outage.Failed("redis does not accept snapshots; retrying with each tick", explained)
	}
	return err != nil
}

func (p *Publisher) recovered(message string) {
	p.lastError.Store(nil)
	p.outage.Recovered(message)
}

// finish writes what still waits, so that a restart continues where this ingester ended, and releases the lease, so that
// a candidate is elected at once. ctx has ended. last is the tick that was taken last; nil: none.
func (p *Publisher) finish(ctx context.Context, last *Tick) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if p.epoch == "" {
		return
	}
	select {
	case t := <-p.ticks:
		if last != nil {
			t.keep(last)
		}
		last = t
	default: // the end of ctx may have interrupted the last one
	}
	if last != nil {
		p.publish(ctx, last)
	}
	epoch := p.epoch
	if epoch == "" { // another ingester was elected
		return
	}
	p.state.writeWaiting(ctx)
	p.history.finish(ctx)
	p.setEpoch("")
	if err := p.election.Resign(ctx, epoch); err != nil {
		p.log.Warn("cannot resign; another ingester is elected when the lease expires", "err", redisurl.Explain(err))
	}
}
