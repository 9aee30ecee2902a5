// Package ingester computes bitcoin's dollar price from a node's transactions and puts it on Redis at a steady pace.
//
// The data's way: node -> payment -> price -> snapshot -> Redis. One goroutine listens to the node, one
// knows its mempool, one computes, one writes to Redis; each hands on and never waits for the next one's troubles.
package ingester

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/node"
	"sightglass/ingester/price"
	"sightglass/ingester/publish"
	"sightglass/shared/redisurl"
	"sightglass/shared/snapshot"
)

// An Ingester is ready to run once: New has checked its options and bound what it binds.
type Ingester struct {
	opts      Options
	log       *slog.Logger
	rpc       *bitcoind.Client // nil without --rpc
	node      *node.Node
	redis     redis.UniversalClient
	publisher *publish.Publisher
	internal  net.Listener // nil without InternalListen
	metrics   *prometheus.Registry
	engine    *engine
	began     time.Time    // when Run did
	ticked    atomic.Int64 // when the compute loop last did, nanoseconds since began: the clock may be set meanwhile
}

// New makes an ingester or says what is wrong with its options. Neither the node nor Redis needs to be there yet.
func New(o Options) (*Ingester, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	in := &Ingester{opts: o, log: o.logger(logIngester), metrics: prometheus.NewRegistry()}
	for _, retired := range RetiredSettings(os.LookupEnv) {
		in.log.Warn(retired)
	}
	registerProcess(in.metrics, o.Version)
	var err error
	if in.rpc, err = o.openRPC(in.metrics); err != nil {
		return nil, err
	}
	if in.node, err = node.New(node.Options{
		ZMQ: o.ZMQ, RPC: in.rpc, Window: snapshot.Window, IdleTimeout: o.ZMQIdleTimeout, Log: o.logger(logNode),
	}, node.NewMetrics(in.metrics)); err != nil {
		return nil, err
	}
	estimator, err := price.New(price.Options{Near: price.USD(o.Near)})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	in.engine = newEngine(o, estimator, now, in.metrics)
	if in.redis, err = redisurl.Open(o.Redis, o.redis()); err != nil {
		return nil, err
	}
	in.publisher = publish.New(in.redis, snapshot.Lease, o.logger(logPublish), in.metrics)
	if in.internal, err = listenInternal(o.InternalListen); err != nil {
		return nil, errors.Join(err, in.redis.Close())
	}
	return in, nil
}

// Run works until ctx ends, and then returns nil. Its error is one that it cannot go on with; a node or a Redis that
// is away is not.
func (in *Ingester) Run(ctx context.Context) error {
	defer in.redis.Close()
	if in.rpc != nil {
		defer in.rpc.Close()
	}
	in.began = time.Now()
	events := make(chan node.Event, pending)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return in.node.Run(ctx, events) })
	g.Go(func() error { in.publisher.Run(ctx); return nil })
	g.Go(func() error { in.compute(ctx, events); return nil })
	if in.opts.LogSummary > 0 {
		g.Go(func() error { in.summarise(ctx); return nil })
	}
	if in.internal != nil {
		g.Go(func() error { return serveInternal(ctx, in.internal, in.internalRoutes()) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("ingester: %w", err)
	}
	return nil
}

// pending is how many events may wait between the node and the engine: few, so that what is heard never stands behind
// many that were asked for. A burst waits before the node's loop, where the two are told apart.
const pending = 64

// stateEvery is how often the engine's state goes to Redis: what a crash may cost. It is the posterior of hours, so
// some seconds of it are nothing.
const stateEvery = 10 * time.Second

// compute owns the engine: it alone touches it.
func (in *Ingester) compute(ctx context.Context, events <-chan node.Event) {
	in.resume(ctx)
	saved := time.Now()
	ticker := time.NewTicker(snapshot.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case ev := <-events:
			in.engine.apply(ev)
		case now := <-ticker.C:
			var state []byte
			if now.Sub(saved) >= stateEvery {
				saved, state = now, in.engine.price.State()
			}
			in.hand(now, state)
			in.ticked.Store(int64(time.Since(in.began)))
			if in.opts.Alive != nil {
				in.opts.Alive()
			}
		}
	}
}

// hand computes the tick's snapshot and gives the publisher what goes to Redis.
func (in *Ingester) hand(now time.Time, state []byte) {
	epoch := in.publisher.Epoch()
	in.engine.reign(epoch)
	encoded := in.engine.tick(now)
	if points := in.engine.pointsWithAmounts(); points != nil {
		in.publisher.PutPoints(points)
	}
	in.publisher.Put(epoch, encoded, state)
	if epoch != "" {
		in.publisher.Record(&in.engine.snapshot)
	}
}

// resume takes up the price where an ingester before this one has left it. Without it the engine starts cold, which
// costs minutes and nothing else. A hint is the operator's word, and wins: it is how to get away from a wrong state.
func (in *Ingester) resume(ctx context.Context) {
	if in.opts.Near > 0 {
		in.log.Info("starting from the hint, not from the state in redis", "near", in.opts.Near)
		return
	}
	state, err := publish.LoadState(ctx, in.redis)
	switch {
	case err != nil:
		in.log.Warn("redis gives no state to resume from; starting cold", "err", redisurl.Explain(err))
	case state == nil:
		in.log.Info("redis holds no state to resume from; starting cold")
	default:
		if err := in.engine.price.Restore(state, time.Now()); err != nil {
			in.log.Warn("the state in redis cannot be used; starting cold", "err", err)
			return
		}
		in.log.Info("resumed from the state in redis", "price", in.engine.price.Estimate(time.Now()).Price.Cents())
	}
}
