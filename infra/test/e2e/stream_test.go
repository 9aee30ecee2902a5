package e2e

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sightglass/infra/test/internal/wstest"
	"sightglass/ingester/testblock"
	"sightglass/shared/contract"
)

const (
	viewers    = 100
	updates    = 60 // half a minute at one in 500 ms
	perAddress = 10
)

// TestStream_100ClientsThroughRedisOutage: 100 clients on two edges each get 60 updates with a price within 1 % of the
// truth, while other clients misbehave. Then Redis is killed and restarted, and all 100 get new snapshots.
func TestStream_100ClientsThroughRedisOutage(t *testing.T) {
	env := start(t, 2)
	all := make([]*wstest.Viewer, viewers)
	for i := range all {
		all[i] = view(t, env.edges[i%2], source(i/perAddress))
	}
	misbehave(t, env.edges[0])

	var skipped atomic.Uint64
	delays := make(chan time.Duration, viewers*updates) // from the ingester's tick to the client
	each(t, all, func(ctx context.Context, v *wstest.Viewer) error {
		for range updates {
			before := v.Last
			s, err := v.Next(ctx)
			if err != nil {
				return err
			}
			if off := math.Abs(s.Price/testblock.Price574200 - 1); off > 0.01 {
				return fmt.Errorf("seq %d: got price %v, %.2f %% off, want at most 1 %%", s.Seq, s.Price, off*100)
			}
			delays <- time.Since(time.UnixMilli(int64(s.Timestamp * 1000)))
			if before != nil {
				skipped.Add(s.Seq - before.Seq - 1)
			}
		}
		return nil
	})
	close(delays)
	sorted := slices.Sorted(seq(delays))
	t.Logf("%d viewers got %d updates each, %d were skipped in total; tick to viewer p50 %v, p99 %v", viewers, updates,
		skipped.Load(), sorted[len(sorted)/2], sorted[len(sorted)*99/100])

	env.redis.Kill()
	each(t, all, func(ctx context.Context, v *wstest.Viewer) error {
		return v.Until(ctx, time.Minute, func(s *contract.Snapshot) bool { return s.Status == contract.Stale })
	})
	env.redis.Start()
	each(t, all, func(ctx context.Context, v *wstest.Viewer) error {
		seq := v.Last.Seq
		return v.Until(ctx, time.Minute, func(s *contract.Snapshot) bool { return s.Status == contract.Live && s.Seq > seq+2 })
	})
}

func seq[T any](c <-chan T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for v := range c {
			if !yield(v) {
				return
			}
		}
	}
}

// each runs f for all viewers concurrently.
func each(t *testing.T, all []*wstest.Viewer, f func(context.Context, *wstest.Viewer) error) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	for i, v := range all {
		g.Go(func() error {
			if err := f(ctx, v); err != nil {
				return fmt.Errorf("viewer %d: %w", i, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}
