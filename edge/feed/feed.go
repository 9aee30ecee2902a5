// Package feed subscribes to the snapshots on Redis and delivers each newer one.
package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"sightglass/shared/contract"
	"sightglass/shared/daemon"
	"sightglass/shared/redisurl"
)

// A Feed holds the newest snapshot. Its methods may be called from anywhere; Run from one goroutine.
type Feed struct {
	// Alive, if set before Run, is called every contract.StaleAfter or sooner, whatever Redis does. The calls stop only if
	// the feed or deliver hangs on a snapshot.
	Alive func()

	client  redis.UniversalClient
	log     *slog.Logger
	metrics *metrics
	outage  daemon.Outage // of Run's goroutine

	logRejected rate.Sometimes // a flood of bad snapshots must not fill the log

	mu         sync.Mutex    // serialises updates from both goroutines
	deliver    func(*Update) // guarded by mu, as are writes to latest and receivedAt
	latest     atomic.Pointer[Update]
	receivedAt atomic.Pointer[time.Time] // when the latest snapshot was received; nil before the first
	connected  atomic.Bool
}

// staleAfter is contract.StaleAfter as text.
var staleAfter = fmt.Sprintf("%g s", contract.StaleAfter.Seconds())

type metrics struct {
	received, stale, resubscribed, stepsBack prometheus.Counter
	rejected                                 *prometheus.CounterVec
}

// The reasons for rejecting a snapshot, as label values of the metric.
const (
	rejectedInvalid = "invalid" // not a valid snapshot
	rejectedOld     = "old"     // older than the latest one
)

// New returns a feed that reads from client (see package redisurl) and registers its metrics with reg.
func New(client redis.UniversalClient, log *slog.Logger, reg prometheus.Registerer) *Feed {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	f := &Feed{
		client:      client,
		log:         log,
		outage:      daemon.Outage{Log: log},
		logRejected: rate.Sometimes{Interval: time.Second},
		metrics: &metrics{
			received:     counter("sightglass_feed_snapshots_total", "Snapshots accepted as newer than the latest one."),
			stale:        counter("sightglass_feed_stale_total", "Times that no newer snapshot was received for "+staleAfter+"."),
			stepsBack:    counter("sightglass_feed_steps_back_total", "Times that snapshots of a lower epoch were accepted because Redis had lost the higher one."),
			resubscribed: counter("sightglass_feed_subscribes_total", "Subscriptions that Redis confirmed."),
			rejected: with.NewCounterVec(prometheus.CounterOpts{
				Name: "sightglass_feed_rejected_total", Help: "Snapshots that were rejected, by reason.",
			}, []string{"reason"}),
		},
	}
	for _, reason := range []string{rejectedInvalid, rejectedOld} {
		f.metrics.rejected.WithLabelValues(reason) // a series that starts at 0 shows the first rejection as an increase
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sightglass_feed_age_seconds", Help: "Time since the latest snapshot was received.",
	}, func() float64 { return f.Age().Seconds() })
	return f
}

// Latest returns the latest update, nil before the first.
func (f *Feed) Latest() *Update { return f.latest.Load() }

// Age returns the time since the latest snapshot was received, math.MaxInt64 before the first.
func (f *Feed) Age() time.Duration {
	if at := f.receivedAt.Load(); at != nil {
		return time.Since(*at) // monotonic: setting the clock back does not change it
	}
	return math.MaxInt64
}

// Connected reports whether Redis has confirmed our subscription and the link has not failed since.
func (f *Feed) Connected() bool { return f.connected.Load() }

// Run follows Redis until ctx ends and reconnects after failures. It calls deliver with every newer update, and once with
// a stale one if no newer snapshot was received for contract.StaleAfter. Calls of deliver never overlap.
func (f *Feed) Run(ctx context.Context, deliver func(*Update)) {
	f.deliver = deliver
	var watch sync.WaitGroup
	watch.Go(func() { f.watch(ctx) })
	defer watch.Wait()
	for {
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errSilent) {
			continue
		}
		f.connected.Store(false)
		f.outage.Failed("lost connection to redis; retrying", redisurl.Explain(err))
		sleep(ctx, 100*time.Millisecond+rand.N(400*time.Millisecond)) // random, so that a fleet of edges does not reconnect in step
	}
}

// watch marks the latest snapshot as stale after contract.StaleAfter. It has its own timer because follow can block for
// longer: each step of connecting to a Redis that accepts connections and never responds runs into its timeout.
func (f *Feed) watch(ctx context.Context) {
	for ctx.Err() == nil {
		next := f.checkStale()
		if f.Alive != nil {
			f.Alive()
		}
		sleep(ctx, next)
	}
}

// sleep returns after d, or sooner if ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// errSilent is follow's error if Redis confirmed the subscription and then no message arrived. Either no ingester
// publishes, or the link is dead; a new subscription distinguishes the two.
var errSilent = errors.New("no message on the channel")

// follow subscribes and receives snapshots until an error, or until no message arrives for contract.StaleAfter.
func (f *Feed) follow(ctx context.Context) error {
	sub := f.client.Subscribe(ctx, contract.Channel)
	defer sub.Close()
	stop := context.AfterFunc(ctx, func() { sub.Close() }) // ReceiveTimeout ignores ctx
	defer stop()
	confirmed := false
	var lower lowerRun
	for {
		message, err := sub.ReceiveTimeout(ctx, contract.StaleAfter)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && confirmed {
			return errSilent
		}
		if err != nil {
			return err
		}
		switch m := message.(type) {
		case *redis.Subscription:
			if err := f.catchUp(ctx); err != nil {
				return err
			}
			confirmed = true
		case *redis.Message:
			f.receive([]byte(m.Payload), published, &lower)
			if lower.isLongEnough() {
				if err := f.acceptLowerEpoch(ctx, lower); err != nil {
					return err
				}
				lower = lowerRun{}
			}
		}
	}
}

// catchUp reads the latest snapshot after the subscription is confirmed, so that none is missed in between.
func (f *Feed) catchUp(ctx context.Context) error {
	payload, err := f.client.Get(ctx, contract.KeyLatest).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("reading %s: %w", contract.KeyLatest, err)
	}
	f.metrics.resubscribed.Inc()
	if !f.connected.Swap(true) { // an outage has ended, or the edge has started
		f.outage.End()
		f.log.Info("subscribed to snapshots on redis")
	}
	if err == nil {
		f.receive(payload, stored, nil)
	}
	return nil
}

// An origin says how a snapshot reached the feed.
type origin int

const (
	published origin = iota // on the channel, just now
	stored                  // in the latest key, possibly old
)

// receive delivers a snapshot if it is newer than the latest one. lower, which may be nil, observes it.
func (f *Feed) receive(payload []byte, from origin, lower *lowerRun) {
	f.mu.Lock()
	defer f.mu.Unlock()
	latest := f.latest.Load()
	update, err := NewUpdate(payload, latest)
	if err != nil {
		f.reject(rejectedInvalid, err)
		return
	}
	s := update.Snapshot
	if lower != nil {
		lower.observe(s, latest)
	}
	if latest != nil && !s.NewerThan(latest.Snapshot) {
		if old := latest.Snapshot; s.Epoch != old.Epoch || s.Seq != old.Seq { // catchUp usually reads the latest one again
			f.reject(rejectedOld, fmt.Errorf("epoch %s seq %d after epoch %s seq %d", s.Epoch, s.Seq, old.Epoch, old.Seq))
		}
		return
	}
	f.metrics.received.Inc()
	at := time.Now()
	if from == stored { // its age counts from its timestamp
		at = at.Add(-max(0, at.Sub(time.UnixMilli(int64(s.Timestamp*1000)))))
	}
	f.receivedAt.Store(&at)
	if f.Age() >= contract.StaleAfter {
		update = f.stale(update)
	}
	f.publish(update)
}

func (f *Feed) publish(u *Update) {
	f.latest.Store(u)
	f.deliver(u)
}

func (f *Feed) reject(reason string, err error) {
	f.metrics.rejected.WithLabelValues(reason).Inc()
	f.logRejected.Do(func() { f.log.Warn("rejected a snapshot", "reason", reason, "err", err) })
}

// checkStale delivers the latest snapshot marked as stale, once, if no newer one was received for contract.StaleAfter. It
// returns the time until the next check.
func (f *Feed) checkStale() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	latest := f.latest.Load()
	if latest == nil || latest.Snapshot.Status == contract.Stale {
		return contract.Interval // a snapshot received before the next check is not stale by then
	}
	if left := contract.StaleAfter - f.Age(); left > 0 {
		return left
	}
	f.publish(f.stale(latest))
	return contract.Interval
}

// stale returns the update marked as stale; itself if it is.
func (f *Feed) stale(u *Update) *Update {
	if u.Snapshot.Status == contract.Stale {
		return u
	}
	f.metrics.stale.Inc()
	f.log.Warn("no snapshot for " + staleAfter + "; marked the latest as stale")
	return u.stale()
}
