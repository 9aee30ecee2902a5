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

// ErrEvicts is wrapped by CheckEviction's error if Redis may evict our keys. After any other error that is unknown.
var ErrEvicts = errors.New("redis may evict our keys when its memory is full")

// noEviction is the only safe policy, because all of our keys matter. allkeys-* evicts any of them, first the history,
// which is large and written only every 10 s. volatile-* evicts those with a time to live: the leader's lease, the
// newest snapshot, the engine's state, the points, the evidence, the leases of connections.
const noEviction = "noeviction"

// CheckEviction returns nil if Redis never evicts keys: its maxmemory-policy is noeviction, or it has no maxmemory. It
// uses INFO, which reveals no secrets and which providers allow, unlike CONFIG GET. In a Cluster it checks each master.
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
	return fmt.Errorf("cannot check a %T", client)
}

// judgeEviction parses the section memory of INFO.
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
		return errors.New("its INFO lacks maxmemory_policy or maxmemory")
	}
	return fmt.Errorf("%w: its maxmemory-policy is %s and its maxmemory %s bytes; CONFIG SET maxmemory-policy %s, and set it in its configuration file (docs/redis.md)",
		ErrEvicts, policy, limit, noEviction)
}

// checkEvery is the interval of a running ingester's checks: CONFIG SET may change the policy at any time.
const checkEvery = time.Minute

// An evictionWatch logs and counts in a metric whether Redis may evict our keys.
type evictionWatch struct {
	client redis.UniversalClient
	log    *slog.Logger
	evicts prometheus.Gauge
}

func newEvictionWatch(client redis.UniversalClient, log *slog.Logger, reg prometheus.Registerer) *evictionWatch {
	return &evictionWatch{client: client, log: log, evicts: promauto.With(reg).NewGauge(prometheus.GaugeOpts{
		Name: "sightglass_redis_evicts", Help: "1 if Redis may evict keys, 0 if it may not or if its policy is unknown.",
	})}
}

// run checks at once and every minute, until ctx ends or Redis forbids this user to check. Then only lost keys show
// evictions (sightglass_publish_lost_keys_total).
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
			w.log.Info("cannot check whether redis evicts keys; grant this user +info (docs/redis.md)", "err", err)
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
				w.log.Info("redis no longer evicts keys")
			}
			before = nil
		} // otherwise Redis does not respond, which the publisher logs
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
