// Package feed follows the snapshots on Redis and hands each newer one on.
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

	"sightglass/shared/daemon"
	"sightglass/shared/keys"
	"sightglass/shared/snapshot"
)

// A Feed holds the newest snapshot. Its methods may be called from anywhere; Run from one goroutine.
type Feed struct {
	// Alive, if it is set before Run, is called every snapshot.StaleAfter or sooner, whatever Redis does: unless a snapshot is
	// never done with, in here or in deliver.
	Alive func()

	client  redis.UniversalClient
	log     *slog.Logger
	metrics *metrics
	outage  daemon.Outage  // of Run's goroutine
	refused rate.Sometimes // keeps a flood of bad snapshots out of the log

	mu        sync.Mutex    // one update after another, whichever goroutine has it
	deliver   func(*Update) // guarded by mu, as is writing the next two
	latest    atomic.Pointer[Update]
	heard     atomic.Pointer[time.Time] // when the latest came; nil before the first
	connected atomic.Bool
}

// staleAfter is snapshot.StaleAfter in words.
var staleAfter = fmt.Sprintf("%g s", snapshot.StaleAfter.Seconds())

type metrics struct {
	received, stale, resubscribed, stepsBack prometheus.Counter
	refused                                  *prometheus.CounterVec
}

// Why a snapshot is passed over, as a metric's label.
const (
	refusedInvalid = "invalid" // no snapshot
	refusedOld     = "old"     // older than the one that is there
)

// New makes a feed from a client of Redis; see package redisurl.
func New(client redis.UniversalClient, log *slog.Logger, reg prometheus.Registerer) *Feed {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	f := &Feed{
		client:  client,
		log:     log,
		outage:  daemon.Outage{Log: log},
		refused: rate.Sometimes{Interval: time.Second},
		metrics: &metrics{
			received:     counter("sightglass_feed_snapshots_total", "Snapshots that were newer than the one before."),
			stale:        counter("sightglass_feed_stale_total", "Times that nothing newer came for "+staleAfter+"."),
			stepsBack:    counter("sightglass_feed_steps_back_total", "Times that snapshots of a lower epoch were accepted, as Redis had lost the higher one."),
			resubscribed: counter("sightglass_feed_subscribes_total", "Subscriptions that Redis has confirmed."),
			refused: with.NewCounterVec(prometheus.CounterOpts{
				Name: "sightglass_feed_refused_total", Help: "Snapshots that were passed over, by why.",
			}, []string{"reason"}),
		},
	}
	for _, why := range []string{refusedInvalid, refusedOld} {
		f.metrics.refused.WithLabelValues(why) // so that the first is seen as a rise
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sightglass_feed_age_seconds", Help: "Time since the newest snapshot came.",
	}, func() float64 { return f.Age().Seconds() })
	return f
}

// Latest is the newest update, nil before the first.
func (f *Feed) Latest() *Update { return f.latest.Load() }

// Age is the time since the newest snapshot came; huge before the first.
func (f *Feed) Age() time.Duration {
	if heard := f.heard.Load(); heard != nil {
		return time.Since(*heard) // a clock that is set back does not change it
	}
	return math.MaxInt64
}

// Connected reports whether Redis has confirmed our subscription and the link has not failed since.
func (f *Feed) Connected() bool { return f.connected.Load() }

// Run follows Redis until ctx ends. It calls deliver with every newer update, and once with a stale one when nothing
// newer came for snapshot.StaleAfter; never two calls at once. Redis may come and go.
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
		f.outage.Failed("lost redis; trying again until it is back", err)
		pause(ctx)
	}
}

// watch tells the clients when nothing newer has come for too long. It has a clock of its own, because following Redis
// can hang for longer than that: each step towards a Redis that accepts connections and never answers takes its timeout.
func (f *Feed) watch(ctx context.Context) {
	for ctx.Err() == nil {
		left := f.checkStale()
		if f.Alive != nil {
			f.Alive()
		}
		pauseFor(ctx, left)
	}
}

// pause keeps a fleet of edges from coming back to Redis in step.
func pause(ctx context.Context) { pauseFor(ctx, 100*time.Millisecond+rand.N(400*time.Millisecond)) }

func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// errSilent is follow's error when Redis confirmed the subscription and then nothing came. The ingester may be away,
// or the link may be dead without either side knowing: only subscribing anew tells.
var errSilent = errors.New("nothing on the channel")

// follow subscribes and takes what comes, until an error or silence for snapshot.StaleAfter.
func (f *Feed) follow(ctx context.Context) error {
	sub := f.client.Subscribe(ctx, keys.Channel)
	defer sub.Close()
	stop := context.AfterFunc(ctx, func() { sub.Close() }) // ReceiveTimeout does not look at ctx
	defer stop()
	confirmed := false
	var lower succession
	for {
		message, err := sub.ReceiveTimeout(ctx, snapshot.StaleAfter)
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
			f.take([]byte(m.Payload), &lower)
			if lower.lasts() {
				if err := f.stepBack(ctx, lower); err != nil {
					return err
				}
				lower = succession{}
			}
		}
	}
}

// catchUp reads the newest snapshot, after the subscription is confirmed: so nothing can be missed in between.
func (f *Feed) catchUp(ctx context.Context) error {
	payload, err := f.client.Get(ctx, keys.Latest).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("reading %s: %w", keys.Latest, err)
	}
	f.metrics.resubscribed.Inc()
	if !f.connected.Swap(true) { // an outage has ended, or the edge has started
		f.outage.End()
		f.log.Info("following the snapshots on redis")
	}
	if err == nil {
		f.takeStored(payload)
		f.checkStale() // now, if it was old already
	}
	return nil
}

// takeStored takes a snapshot that may have lain in Redis for long: it came when it says that it was made.
func (f *Feed) takeStored(payload []byte) {
	f.offer(payload, nil, func(s *snapshot.Snapshot) time.Time {
		now := time.Now()
		return now.Add(-max(0, now.Sub(time.UnixMilli(int64(s.Timestamp*1000)))))
	})
}

// take takes a snapshot that was published just now. lower follows those of a lower epoch.
func (f *Feed) take(payload []byte, lower *succession) {
	f.offer(payload, lower, func(*snapshot.Snapshot) time.Time { return time.Now() })
}

// offer delivers a snapshot if it is newer than the latest. lower, which may be nil, is told of it.
func (f *Feed) offer(payload []byte, lower *succession, came func(*snapshot.Snapshot) time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	latest := f.latest.Load()
	update, err := NewUpdate(payload, latest)
	if err != nil {
		f.refuse(refusedInvalid, err)
		return
	}
	s := update.Snapshot
	if lower != nil {
		lower.hear(s, latest)
	}
	if latest != nil && !s.NewerThan(latest.Snapshot) {
		if old := latest.Snapshot; s.Epoch != old.Epoch || s.Seq != old.Seq { // the same again is what catchUp reads
			f.refuse(refusedOld, fmt.Errorf("epoch %s seq %d after epoch %s seq %d", s.Epoch, s.Seq, old.Epoch, old.Seq))
		}
		return
	}
	f.metrics.received.Inc()
	at := came(s)
	f.heard.Store(&at)
	f.publish(update)
}

func (f *Feed) publish(u *Update) {
	f.latest.Store(u)
	f.deliver(u)
}

func (f *Feed) refuse(reason string, err error) {
	f.metrics.refused.WithLabelValues(reason).Inc()
	f.refused.Do(func() { f.log.Warn("passed over a snapshot", "reason", reason, "err", err) })
}

// checkStale tells the clients, once, when nothing newer has come for too long. It gives the time until it has to look
// again.
func (f *Feed) checkStale() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	latest := f.latest.Load()
	if latest == nil || latest.Snapshot.Status == snapshot.Stale {
		return snapshot.Interval // whatever comes meanwhile is not stale for longer than that
	}
	if left := snapshot.StaleAfter - f.Age(); left > 0 {
		return left
	}
	f.metrics.stale.Inc()
	f.log.Warn("no snapshot for " + staleAfter + "; clients are told")
	f.publish(latest.stale())
	return snapshot.Interval
}
