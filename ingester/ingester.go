// Package ingester computes bitcoin's dollar price from a node's transactions and publishes it on Redis at a steady
// rate.
//
// Data flows one way: node -> payment -> price -> snapshot -> Redis. One goroutine receives from the node, one tracks
// its mempool, one computes, one writes to Redis; none waits for a failure of the next.
package ingester

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync/atomic"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sightglass/ingester/backfill"
	"sightglass/ingester/bitcoind"
	"sightglass/ingester/node"
	"sightglass/ingester/peers"
	"sightglass/ingester/price"
	"sightglass/ingester/publish"
	"sightglass/shared/contract"
	"sightglass/shared/daemon"
	"sightglass/shared/redisurl"
)

// A source gives events of transactions until ctx ends: a node, or peers.
type source interface {
	Run(ctx context.Context, out chan<- node.Event) error
}

// An Ingester can be run once. New has validated its options and opened its listeners.
type Ingester struct {
	opts      Options
	log       *slog.Logger
	rpc       *bitcoind.Client // nil without --rpc
	source    source
	node      *node.Node     // nil with --peers
	peers     *peers.Network // nil without --peers
	redis     redis.UniversalClient
	publisher *publish.Publisher
	internal  net.Listener // nil without InternalListen
	metrics   *prometheus.Registry
	engine    *engine
	filling   *backfill.Metrics
	surePrice atomic.Uint64 // bits of the last tick's price in USD as a float64; 0 if its confidence is below surelyRight
	began     time.Time     // start of Run
	ticked    atomic.Int64  // the compute loop's last tick, in nanoseconds since began, so that setting the clock does not change it
}

// New returns an ingester, or an error that names what is wrong with its options. Neither the node nor Redis needs to
// be reachable yet.
func New(o Options) (*Ingester, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.SetDefaults()
	in := &Ingester{opts: o, log: o.Logger(logIngester), metrics: o.Metrics}
	var err error
	if in.rpc, err = o.openRPC(in.metrics); err != nil {
		return nil, err
	}
	if o.Peers.On {
		in.peers = peers.New(peers.Options{
			Settings: o.Settings, Window: contract.Window, Version: o.Version, Log: o.Logger(logPeers),
		}, peers.NewMetrics(in.metrics))
		in.source = in.peers
	} else if in.node, err = node.New(node.Options{
		ZMQ: o.ZMQ, RPC: in.rpc, Window: contract.Window, IdleTimeout: o.ZMQIdleTimeout, Log: o.Logger(logNode),
	}, node.NewMetrics(in.metrics)); err != nil {
		return nil, err
	} else {
		in.source = in.node
	}
	estimator, err := price.New(price.Options{Near: price.USD(o.PriceHint)})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	in.engine = newEngine(o, estimator, now, in.metrics)
	in.filling = backfill.NewMetrics(in.metrics)
	if in.redis, err = o.OpenRedis(redisName); err != nil {
		return nil, err
	}
	in.publisher = publish.New(in.redis, contract.Lease, o.Logger(logPublish), in.metrics)
	if in.internal, err = daemon.ListenInternal(o.InternalListen); err != nil {
		return nil, errors.Join(err, in.redis.Close())
	}
	return in, nil
}

// Run runs the ingester until ctx ends, and then returns nil. Other errors are fatal. An unreachable node or Redis is
// no error.
func (in *Ingester) Run(ctx context.Context) error {
	defer in.redis.Close()
	if in.rpc != nil {
		defer in.rpc.Close()
	}
	in.began = time.Now()
	events := make(chan node.Event, maxPending)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return in.source.Run(ctx, events) })
	// The publisher ends after the engine, to write the engine's last state.
	publishing, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPublishing()
	g.Go(func() error { in.publisher.Run(publishing); return nil })
	g.Go(func() error {
		defer stopPublishing()
		in.compute(ctx, events)
		return nil
	})
	if in.rpc != nil && in.opts.Backfill > 0 {
		g.Go(func() error { in.backfill(ctx); return nil })
	}
	if in.opts.LogSummary > 0 {
		g.Go(func() error {
			daemon.Summarise(ctx, in.opts.LogSummary, in.metrics, in.log, "price", summary)
			return nil
		})
	}
	if in.internal != nil {
		g.Go(func() error { return daemon.ServeInternal(ctx, in.internal, in.internalRoutes()) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("ingester: %w", err)
	}
	return nil
}

const (
	// backfillInterval is how often the node is asked for new blocks.
	backfillInterval = 10 * time.Second
	// backfillRetry is how long a backfill waits while another one writes, or after the node or Redis has failed.
	backfillRetry = time.Minute
	// surelyRight is the confidence from which on the live price is where a backfill starts.
	surelyRight = 0.9
)

// backfill keeps the blocks of the history complete while this ingester is the leader.
func (in *Ingester) backfill(ctx context.Context) {
	log := in.opts.Logger(LogBackfill)
	outage := daemon.Outage{Log: log}
	o := backfill.Options{Node: in.rpc, Redis: in.redis, Log: log, Metrics: in.filling, Workers: 1, Rest: true, Holder: rand.Text()}
	var tip chainhash.Hash // up to which the history is complete
	add := func() error {
		chain, err := in.rpc.Chain(ctx)
		if err != nil || chain.Best == tip || chain.InitialBlockDownload {
			return err
		}
		from, err := backfill.HeightAt(ctx, in.rpc, time.Now().Add(-in.opts.Backfill))
		if err != nil {
			return err
		}
		o.PriceHint = price.USD(math.Float64frombits(in.surePrice.Load()))
		if err := backfill.Run(ctx, o, min(from, int64(chain.Blocks)), int64(chain.Blocks)); err != nil {
			return err
		}
		tip = chain.Best
		outage.Recovered("the history has the node's blocks again")
		return nil
	}
	for pause := time.Second; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if !in.publisher.Leads() {
			continue
		}
		pause = backfillInterval
		if err := add(); err != nil && ctx.Err() == nil {
			in.filling.Failed()
			outage.Failed("cannot add the node's blocks to the history; trying again each minute", backfill.Explain(err))
			pause = backfillRetry
		}
	}
}

// maxPending is the number of events that may wait between the node and the engine: few, so that received transactions
// never wait behind many fetched ones. A burst waits in front of the node's loop, which prefers received transactions.
const maxPending = 64

// The engine's state is as of the last minute that is over. It is written to Redis when it changes, within
// stateInterval, and again after stateRepeat, in case that Redis has lost it. It has 69 kB: more often would wear out a
// home node's disk.
const (
	stateInterval = 10 * time.Second
	stateRepeat   = 3 * time.Minute
)

// compute owns the engine. Its last tick holds the engine's state.
func (in *Ingester) compute(ctx context.Context, events <-chan node.Event) {
	in.resume(ctx)
	var state []byte
	checked, saved := time.Now(), time.Now()
	ticker := time.NewTicker(contract.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			t := in.engine.tick(time.Now())
			t.State = in.engine.price.State()
			in.countPeers(&t.Snapshot.Stats)
			in.publisher.Put(t)
			return
		case ev := <-events:
			in.engine.apply(ev)
		case now := <-ticker.C:
			t := in.engine.tick(now)
			sure := 0.0
			if t.Snapshot.Status == contract.Live && t.Snapshot.Confidence >= surelyRight {
				sure = t.Snapshot.Price
			}
			in.surePrice.Store(math.Float64bits(sure))
			if now.Sub(checked) >= stateInterval {
				checked = now
				if s := in.engine.price.State(); !bytes.Equal(s, state) || now.Sub(saved) >= stateRepeat {
					state, saved, t.State = s, now, s
				}
			}
			in.countPeers(&t.Snapshot.Stats)
			in.publisher.Put(t)
			in.ticked.Store(int64(time.Since(in.began)))
			if in.opts.Alive != nil {
				in.opts.Alive()
			}
		}
	}
}

// countPeers adds the source to a snapshot, unless it is a node.
func (in *Ingester) countPeers(s *contract.Stats) {
	if in.peers != nil {
		s.Peers, s.PeersWanted = uint64(in.peers.Connected()), uint64(in.peers.Wanted())
	}
}

// resume restores the engine's state that an earlier ingester stored. Without a state the engine starts cold, which
// takes some minutes. An operator's hint has priority, because it is the remedy for a wrong state.
func (in *Ingester) resume(ctx context.Context) {
	if in.opts.PriceHint > 0 {
		in.log.Info("starting from the price hint; ignoring the state in redis", "price_hint", in.opts.PriceHint)
		return
	}
	state, err := publish.LoadState(ctx, in.redis)
	switch {
	case err != nil:
		in.log.Warn("cannot read the engine's state from redis; starting cold", "err", redisurl.Explain(err))
	case state == nil:
		in.log.Info("redis holds no engine state; starting cold")
	default:
		if err := in.engine.price.Restore(state, time.Now()); err != nil {
			in.log.Warn("the engine's state in redis is unusable; starting cold", "err", err)
			return
		}
		in.log.Info("resumed from the engine's state in redis", "price", in.engine.price.Estimate(time.Now()).Price.Cents())
	}
}
