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
	"sightglass/shared/keys"
	"sightglass/shared/redisurl"
)

const (
	// askTimeout is how long a handshake may wait for Redis, which answers within a millisecond or is in trouble.
	askTimeout = 200 * time.Millisecond
	// roundTimeout is how long one exchange of the renewals may take.
	roundTimeout = 2 * time.Second
	// renewals is how often a lease is renewed before it would end: one may fail, and one be late.
	renewals = 3
	// batch is how many leases go in one exchange: enough that its round trip does not count, few enough that a
	// handshake's question does not wait behind them for a millisecond.
	batch = 500
	// mostFreed is how many leases wait to be given back; what is over it ends by itself.
	mostFreed = 20_000
)

// acquire takes a lease unless the address has all that it may. Redis's clock counts, as the edges' may differ.
//
// KEYS: the address's leases. ARGV: the new lease, how many there may be, how long it lasts in milliseconds.
var acquire = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`)

// FleetOptions are how a Fleet counts.
type FleetOptions struct {
	Local *Addresses // counts on this edge, first and whatever happens to Redis
	Most  int        // connections for an address on all edges
	// Lease is how long the connections of an edge that died count on. Each edge renews its own, all of them, three
	// times in this time.
	Lease time.Duration
	Log   *slog.Logger
}

// A Fleet bounds how many connections one address may hold on all edges that share a Redis. Each connection is a lease
// there, which ends by itself unless its edge renews it. While Redis is away, the count on this edge alone decides: an
// edge that rejected everyone would be worse than one that accepts a few too many. Run must be running.
type Fleet struct {
	opts    FleetOptions
	redis   redis.Cmdable
	id      string // of this edge's leases
	away    atomic.Bool
	metrics fleetMetrics

	mu    sync.Mutex
	last  uint64
	held  map[netip.Addr][]string // leases by key; they are alike, so any one is given back
	freed []lease
	wake  chan struct{} // has room for one: there is something to give back
}

type lease struct{ key, member string }

type fleetMetrics struct{ alone, failed prometheus.Counter }

// NewFleet makes a Fleet that counts in Redis.
func NewFleet(client redis.Cmdable, o FleetOptions, reg prometheus.Registerer) *Fleet {
	with := promauto.With(reg)
	f := &Fleet{
		opts: o, redis: client, id: rand.Text(),
		held: make(map[netip.Addr][]string), wake: make(chan struct{}, 1),
		metrics: fleetMetrics{
			alone: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_limit_alone_total", Help: "Clients that were counted on this edge alone, because Redis was away.",
			}),
			failed: with.NewCounter(prometheus.CounterOpts{
				Name: "sightglass_limit_redis_failures_total", Help: "Times that Redis did not answer about clients' leases.",
			}),
		},
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sightglass_limit_redis_up", Help: "1 if the limit counts over all edges, 0 if on this edge alone.",
	}, func() float64 {
		if f.away.Load() {
			return 0
		}
		return 1
	})
	return f
}

// Acquire takes one of the address's connections. It returns rejection.Address or rejection.Cluster if none is left; if
// None, Release must follow. It waits for Redis for at most 200 ms, and not at all while Redis is known to be away.
func (f *Fleet) Acquire(ctx context.Context, addr netip.Addr) rejection.Reason {
	if why := f.opts.Local.Acquire(ctx, addr); why != rejection.None {
		return why
	}
	k, member := key(addr), f.newMember()
	if !f.ask(ctx, lease{redisKey(k), member}) {
		f.opts.Local.Release(addr)
		return rejection.Cluster
	}
	// If Redis did not answer, the lease is kept all the same: the renewals tell Redis of it when it is back.
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[k] = append(f.held[k], member)
	return rejection.None
}

// ask reports whether the address may have another connection; true if Redis does not say.
func (f *Fleet) ask(ctx context.Context, l lease) bool {
	if f.away.Load() {
		f.metrics.alone.Inc()
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	may, err := acquire.Run(ctx, f.redis, []string{l.key}, l.member, f.opts.Most, f.opts.Lease.Milliseconds()).Bool()
	if err != nil {
		f.lost(err)
		f.metrics.alone.Inc()
		return true
	}
	return may
}

// Release gives back what Acquire took. It does not wait for Redis.
func (f *Fleet) Release(addr netip.Addr) {
	f.opts.Local.Release(addr)
	k := key(addr)
	f.mu.Lock()
	defer f.mu.Unlock()
	leases := f.held[k]
	end := len(leases) - 1
	if len(f.freed) < mostFreed {
		f.freed = append(f.freed, lease{redisKey(k), leases[end]})
	}
	if f.held[k] = leases[:end]; end == 0 {
		delete(f.held, k)
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *Fleet) newMember() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	return f.id + ":" + strconv.FormatUint(f.last, 10)
}

func redisKey(k netip.Addr) string {
	if !k.IsValid() {
		return keys.LimitPrefix + "unknown"
	}
	return keys.LimitPrefix + k.String()
}

// Run renews the leases, and gives them back, until ctx ends. Those that are still held then are left to end.
func (f *Fleet) Run(ctx context.Context) {
	renew := time.NewTicker(f.opts.Lease / renewals)
	defer renew.Stop()
	for {
		var err error
		select {
		case <-renew.C:
			err = f.renew(ctx)
		case <-f.wake:
			err = f.giveBack()
		case <-ctx.Done():
			f.giveBack() //nolint:errcheck // what is not given back ends by itself
			return
		}
		if err != nil && ctx.Err() == nil {
			f.lost(err)
		}
	}
}

func (f *Fleet) lost(err error) {
	f.metrics.failed.Inc()
	if !f.away.Swap(true) {
		f.opts.Log.Warn("redis is away: connections of an address are counted on this edge alone", "err", redisurl.Explain(err))
	}
}

// found is for a round of renewals alone: until that has told Redis of all leases, its count is too low.
func (f *Fleet) found() {
	if f.away.Swap(false) {
		f.opts.Log.Info("redis is back: connections of an address are counted over all edges")
	}
}

// renew tells Redis of all leases that are held.
func (f *Fleet) renew(ctx context.Context) error {
	leases := f.all()
	for done := 0; done == 0 || done < len(leases); done += batch { // with none it still looks whether Redis is there
		if err := f.renewSome(ctx, leases[done:min(done+batch, len(leases))]); err != nil {
			return err
		}
	}
	f.found()
	return nil
}

func (f *Fleet) all() []lease {
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
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	now, err := f.redis.Time(ctx).Result()
	if err != nil {
		return err
	}
	end := float64(now.Add(f.opts.Lease).UnixMilli())
	_, err = f.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, l := range leases {
			p.ZAdd(ctx, l.key, redis.Z{Score: end, Member: l.member})
			p.PExpire(ctx, l.key, f.opts.Lease)
		}
		return nil
	})
	return err
}

// giveBack frees what was released. It is done by the goroutine that renews, so no renewal comes after it, and is not
// broken off when Run ends, as what it has begun with would be lost.
func (f *Fleet) giveBack() error {
	for {
		leases := f.takeFreed()
		if len(leases) == 0 {
			return nil
		}
		if f.away.Load() { // they end by themselves
			continue
		}
		if err := f.remove(leases); err != nil {
			return err
		}
	}
}

func (f *Fleet) takeFreed() []lease {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(batch, len(f.freed))
	some := f.freed[:n:n]
	f.freed = f.freed[n:]
	return some
}

func (f *Fleet) remove(leases []lease) error {
	ctx, cancel := context.WithTimeout(context.Background(), roundTimeout)
	defer cancel()
	_, err := f.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, l := range leases {
			p.ZRem(ctx, l.key, l.member)
		}
		return nil
	})
	return err
}
