package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/redisurl"
)

// ErrEvicts is wrapped by CheckEviction's error if Redis may evict keys of ours; with any other error it is not known.
var ErrEvicts = errors.New("redis may take keys of ours away when its memory is full")

// noEviction is the one policy that takes no key away. All of ours matter: allkeys-* takes any of them, first of all the
// history, which is large and written every 10 s only; volatile-* takes those that end by themselves: the leader's
// lease, the newest snapshot, the engine's state, the points, clients' places.
const noEviction = "noeviction"

// CheckEviction gives nil if Redis never evicts keys: its maxmemory-policy is noeviction, or it has no maxmemory. It
// asks INFO, which tells no secrets and which providers allow, unlike CONFIG GET. In a Cluster it asks each master.
func CheckEviction(ctx context.Context, client redis.UniversalClient) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	check := func(ctx context.Context, node *redis.Client) error {
		info, err := node.Info(ctx, "memory").Result()
		if err != nil {
			return redisurl.Explain(err)
		}
		return judgeEviction(info)
	}
	switch c := client.(type) {
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, check)
	case *redis.Client:
		return check(ctx, c)
	}
	return fmt.Errorf("cannot ask a %T", client)
}

// judgeEviction reads the section memory of INFO.
func judgeEviction(info string) error {
	memory := make(map[string]string)
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		memory[name] = value
	}
	policy, limit := memory["maxmemory_policy"], memory["maxmemory"]
	switch {
	case policy == noEviction, policy != "" && limit == "0":
		return nil
	case policy == "" || limit == "":
		return errors.New("its INFO does not name maxmemory_policy and maxmemory")
	}
	return fmt.Errorf("%w: its maxmemory-policy is %s and its maxmemory %s bytes; CONFIG SET maxmemory-policy %s, in its file too (docs/redis.md)",
		ErrEvicts, policy, limit, noEviction)
}

// checkEvery is how often a running ingester asks for the policy, which CONFIG SET may change at any time.
const checkEvery = time.Minute

// An evictionWatch tells when Redis may evict keys of ours.
type evictionWatch struct {
	client redis.UniversalClient
	log    *slog.Logger
	evicts prometheus.Gauge
}

func newEvictionWatch(client redis.UniversalClient, log *slog.Logger, reg prometheus.Registerer) *evictionWatch {
	return &evictionWatch{client: client, log: log, evicts: promauto.With(reg).NewGauge(prometheus.GaugeOpts{
		Name: "sightglass_redis_evicts", Help: "1 if Redis's eviction policy may take keys away, 0 if it may not or is not known.",
	})}
}

// run asks at once and every minute until ctx ends, or Redis says that this user may not ask: then what it would tell is
// known by keys that vanish, if at all (sightglass_publish_lost_keys_total).
func (w *evictionWatch) run(ctx context.Context) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	var before error
	for {
		err := CheckEviction(ctx, w.client)
		switch {
		case ctx.Err() != nil:
			return
		case redis.IsPermissionError(err):
			w.log.Info("cannot know whether redis evicts keys; give this user +info (docs/redis.md)", "err", err)
			return
		case errors.Is(err, ErrEvicts):
			w.evicts.Set(1)
			if !errors.Is(before, ErrEvicts) {
				w.log.Warn("redis may evict keys", "err", err)
			}
			before = err
		case err == nil:
			w.evicts.Set(0)
			if before != nil {
				w.log.Info("redis evicts no keys any more")
			}
			before = nil
		} // else redis is away, which is told elsewhere
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
