package archive

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/keys"
	"sightglass/shared/redisurl"
	"sightglass/shared/rounds"
)

// PointsFresh is how long points that were read are taken for what there is: the ingester writes them about as often.
const PointsFresh = time.Second

// A Cloud is the newest points, oldest first. Neither it nor its points change: two that are the same pointer hold the
// same.
type Cloud struct{ Points []rounds.Point }

// After gives where the points begin that are later than t, in unix seconds: Points[i:].
func (c *Cloud) After(t int64) (i int) {
	i, _ = slices.BinarySearchFunc(c.Points, float64(t), func(p rounds.Point, t float64) int {
		if p.Timestamp <= t {
			return -1
		}
		return 1
	})
	return i
}

// Points reads the newest points and their round amounts from Redis. It is safe for concurrent use.
type Points struct {
	client          redis.Cmdable
	log             *slog.Logger
	reads, failures prometheus.Counter
	cloud           kept[Cloud]
}

// NewPoints makes one that reads from client, and registers its metrics with reg.
func NewPoints(client redis.Cmdable, log *slog.Logger, reg prometheus.Registerer) *Points {
	with := promauto.With(reg)
	p := &Points{
		client: client,
		log:    log,
		reads: with.NewCounter(prometheus.CounterOpts{
			Name: "sightglass_archive_points_reads_total", Help: "Times that the points' amounts were read from Redis.",
		}),
		failures: with.NewCounter(prometheus.CounterOpts{
			Name: "sightglass_archive_points_failures_total", Help: "Times that Redis gave no points, or none that can be read.",
		}),
	}
	p.cloud = kept[Cloud]{fresh: PointsFresh, ask: p.ask}
	return p
}

// Read gives the points as they are in Redis, or were at most PointsFresh before now; none if there are none. While Redis
// is away they are the last that are known; ErrUnavailable if none are.
func (p *Points) Read(ctx context.Context, now time.Time) (*Cloud, error) {
	return p.cloud.read(ctx, now)
}

func (p *Points) ask(ctx context.Context, before *Cloud) (*Cloud, error) {
	p.reads.Inc()
	points, err := p.load(ctx)
	if err != nil {
		p.failures.Inc()
		p.log.Warn("redis gives no points with their amounts; serving what is known", "err", redisurl.Explain(err))
		return nil, err
	}
	if before != nil && slices.Equal(points, before.Points) {
		return before, nil
	}
	return &Cloud{Points: points}, nil
}

func (p *Points) load(ctx context.Context) ([]rounds.Point, error) {
	data, err := p.client.Get(ctx, keys.Points).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return rounds.Decode(data)
}
