package e2e

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"sightglass/ingester/testblock"
	"sightglass/shared/snapshot"
)

const (
	viewers    = 100
	updates    = 60 // half a minute at one in 500 ms
	perAddress = 10
)

// TestAHundredViewersThroughALossOfRedis is the main job: 100 clients on two edges each get 60 updates with a price
// that is right within 1 %, while other clients misbehave; then Redis dies and comes back, and all 100 go on.
func TestAHundredViewersThroughALossOfRedis(t *testing.T) {
	w := start(t, 2)
	all := make([]*viewer, viewers)
	for i := range all {
		all[i] = &viewer{conn: dial(t, w.edges[i%2], source(i/perAddress))}
	}
	misbehave(t, w.edges[0])

	var skipped atomic.Uint64
	each(t, all, func(ctx context.Context, v *viewer) error {
		for range updates {
			before := v.last
			s, err := v.next(ctx)
			if err != nil {
				return err
			}
			if off := math.Abs(s.Price/testblock.Price574200 - 1); off > 0.01 {
				return fmt.Errorf("seq %d: price %v is %.2f %% off", s.Seq, s.Price, off*100)
			}
			if before != nil {
				skipped.Add(s.Seq - before.Seq - 1)
			}
		}
		return nil
	})
	t.Logf("%d viewers got %d updates each, %d updates were skipped in all", viewers, updates, skipped.Load())

	w.redis.Kill()
	each(t, all, func(ctx context.Context, v *viewer) error {
		return v.until(ctx, func(s *snapshot.Snapshot) bool { return s.Status == snapshot.Stale })
	})
	w.redis.Start()
	each(t, all, func(ctx context.Context, v *viewer) error {
		seq := v.last.Seq
		return v.until(ctx, func(s *snapshot.Snapshot) bool { return s.Status == snapshot.Live && s.Seq > seq+2 })
	})
}

// each runs f for all viewers at once.
func each(t *testing.T, all []*viewer, f func(context.Context, *viewer) error) {
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
