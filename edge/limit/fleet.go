package limit

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/edge/rejection"
	"sightglass/shared/contract"
	"sightglass/shared/redisurl"
)

const (
	// acquireTimeout bounds how long a handshake waits for Redis, which responds within a millisecond if it is healthy.
	acquireTimeout = 200 * time.Millisecond
	// pipelineTimeout bounds one pipeline of renewals or removals.
	pipelineTimeout = 2 * time.Second
	// renewalsPerLease is how often a lease is renewed before it would expire: one renewal may fail and one may be late.
	renewalsPerLease = 3
	// maxPipelined is the most leases in one pipeline: enough that the round trip does not matter, few enough that a
	// handshake does not wait behind it for a millisecond.
	maxPipelined = 500
	// maxReleased is the most leases that wait for removal; leases beyond that expire by themselves.
	maxReleased = 20_000
)

// acquireLease adds a lease unless the address holds the maximum. It uses Redis's clock, as those of edges may differ.
//
// KEYS: the address's leases. ARGV: the new lease, the maximum, the lease's duration in milliseconds.
var acquireLease = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`)

// FleetOptions configure a Fleet.
type FleetOptions struct {
	Local         *Addresses // limits this edge's own connections, first and also without Redis
	MaxPerAddress int        // connections of an address on all edges
	// Lease is how long the connections of an edge that died still count. An edge renews all of its leases three times
	// in this time.
	Lease time.Duration
	Log   *slog.Logger
}

// A Fleet bounds how many connections one address may hold on all edges that share a Redis. Each connection is a lease
// there, which expires unless its edge renews it. While Redis is unavailable, this edge counts alone: rejecting everyone
// would be worse than accepting a few connections too many. Run must be running.
type Fleet struct {
	opts    FleetOptions
	redis   redis.Cmdable
	id      string      // prefix of this edge's leases
	down    atomic.Bool // Redis is unavailable
	metrics fleetMetrics

	mu       sync.Mutex
	last     uint64                  // number of the newest lease
	held     map[netip.Addr][]string // leases by key; they are interchangeable, so Release removes any of them
	released []lease                 // to be removed from Redis
	wake     chan struct{}           // capacity 1: released is not empty
}

type lease struct{ key, member string }

type fleetMetrics struct{ alone, failed prometheus.Counter }

// NewFleet returns a Fleet that counts in Redis, and registers its metrics with reg.
func NewFleet(client redis.Cmdable, o FleetOptions, reg prometheus.Registerer) *Fleet {
	with := promauto.With(reg)
	f := &Fleet{
		opts: o, redis: client, id: rand.Text(),
		held: make(map[netip.Addr][]string), wake: make(chan struct{}, 1),
		metrics: fleetMetrics{
			alone: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_limit_alone_total", Help: "Connections that were counted on this edge alone because Redis was unavailable.",
			}),
			failed: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_limit_redis_failures_total", Help: "Failed calls to Redis for connection leases.",
			}),
		},
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sightglass_limit_redis_up", Help: "1 if connections are counted on all edges, 0 if on this edge alone.",
	}, func() float64 {
		if f.down.Load() {
			return 0
		}
		return 1
	})
	return f
}

// Acquire counts a connection of the address. It returns rejection.Address or rejection.Cluster if the address is at
// its limit. After rejection.None, the caller must call Release. It waits for Redis for at most 200 ms, and not at all
// while Redis is known to be unavailable.
func (f *Fleet) Acquire(ctx context.Context, addr netip.Addr) rejection.Reason {
	if why := f.opts.Local.Acquire(ctx, addr); why != rejection.None {
		return why
	}
	k := key(addr)
	f.mu.Lock()
	f.last++
	member := f.id + ":" + strconv.FormatUint(f.last, 10)
	f.mu.Unlock()
	if !f.acquireInRedis(ctx, lease{redisKey(k), member}) {
		f.opts.Local.Release(addr)
		return rejection.Cluster
	}
	// The lease is held even if Redis did not respond: the next renewal adds it.
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[k] = append(f.held[k], member)
	return rejection.None
}

// acquireInRedis reports whether the address may have another connection; true if Redis does not respond.
func (f *Fleet) acquireInRedis(ctx context.Context, l lease) bool {
	if f.down.Load() {
		f.metrics.alone.Inc()
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	ok, err := acquireLease.Run(ctx, f.redis, []string{l.key}, l.member, f.opts.MaxPerAddress, f.opts.Lease.Milliseconds()).Bool()
	if err != nil {
		f.redisFailed(err)
		f.metrics.alone.Inc()
		return true
	}
	return ok
}

// Release releases a connection that Acquire counted. It does not wait for Redis.
func (f *Fleet) Release(addr netip.Addr) {
	f.opts.Local.Release(addr)
	k := key(addr)
	f.mu.Lock()
	defer f.mu.Unlock()
	leases := f.held[k]
	end := len(leases) - 1
	if len(f.released) < maxReleased {
		f.released = append(f.released, lease{redisKey(k), leases[end]})
	}
	if f.held[k] = leases[:end]; end == 0 {
		delete(f.held, k)
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func redisKey(k netip.Addr) string {
	if !k.IsValid() {
		return contract.KeyLimitPrefix + "unknown"
	}
	return contract.KeyLimitPrefix + k.String()
}

// Run renews held leases and removes released ones until ctx ends. Leases that are still held then expire.
func (f *Fleet) Run(ctx context.Context) {
	renew := time.NewTicker(f.opts.Lease / renewalsPerLease)
	defer renew.Stop()
	for {
		var err error
		select {
		case <-renew.C:
			err = f.renew(ctx)
		case <-f.wake:
			err = f.removeReleased()
		case <-ctx.Done():
			f.removeReleased() //nolint:errcheck // leases that are not removed expire
			return
		}
		if err != nil && ctx.Err() == nil {
			f.redisFailed(err)
		}
	}
}

func (f *Fleet) redisFailed(err error) {
	f.metrics.failed.Inc()
	if !f.down.Swap(true) {
		f.opts.Log.Warn("lost redis; counting an address's connections on this edge alone", "err", redisurl.Explain(err))
	}
}

// renew renews every held lease. Only then does Redis count again: until it knows all leases, its count is too low.
func (f *Fleet) renew(ctx context.Context) error {
	leases := f.allHeld()
	for done := 0; done == 0 || done < len(leases); done += maxPipelined { // without leases it still checks whether Redis is there
		if err := f.renewSome(ctx, leases[done:min(done+maxPipelined, len(leases))]); err != nil {
			return err
		}
	}
	if f.down.Swap(false) {
		f.opts.Log.Info("redis is back; counting an address's connections on all edges")
	}
	return nil
}

func (f *Fleet) allHeld() []lease {
	f.mu.Lock()
	defer f.mu.Unlock()
	leases := make([]lease, 0, len(f.held))
	for k, members := range f.held {
		for _, member := range members {
			leases = append(leases, lease{redisKey(k), member})
		}
	}
	return leases
}

func (f *Fleet) renewSome(ctx context.Context, leases []lease) error {
	ctx, cancel := context.WithTimeout(ctx, pipelineTimeout)
	defer cancel()
	now, err := f.redis.Time(ctx).Result()
	if err != nil {
		return err
	}
	expiry := float64(now.Add(f.opts.Lease).UnixMilli())
	_, err = f.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, l := range leases {
			p.ZAdd(ctx, l.key, redis.Z{Score: expiry, Member: l.member})
			p.PExpire(ctx, l.key, f.opts.Lease)
		}
		return nil
	})
	return err
}

// removeReleased removes the released leases from Redis. It runs in the goroutine that renews, so that no renewal adds
// a lease again. It is not cancelled when Run ends, which would lose the batch that it has removed from the list.
func (f *Fleet) removeReleased() error {
	for {
		f.mu.Lock()
		n := min(maxPipelined, len(f.released))
		leases := f.released[:n:n]
		f.released = f.released[n:]
		f.mu.Unlock()
		if n == 0 {
			return nil
		}
		if f.down.Load() { // the leases expire
			continue
		}
		if err := f.remove(leases); err != nil {
			return err
		}
	}
}

func (f *Fleet) remove(leases []lease) error {
	ctx, cancel := context.WithTimeout(context.Background(), pipelineTimeout)
	defer cancel()
	_, err := f.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, l := range leases {
			p.ZRem(ctx, l.key, l.member)
		}
		return nil
	})
	return err
}
