package feed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/keys"
	"sightglass/shared/snapshot"
)

// A succession is the snapshots of a lower epoch than the one that is shown, as they come on the channel one after
// another.
//
// Redis publishes a snapshot only if its epoch is the latest that it has granted, so each of them shows that the higher
// epoch is not known to this Redis: it was emptied or has gone back to an old copy, and the clock of the ingester that
// then claimed an epoch is behind that of the one before. The ingester of the higher epoch may still be alive; then it
// finds that Redis refuses its snapshots, and claims an epoch that is higher than both. Only if that has not happened
// for snapshot.StepBackAfter, by this edge's own clock, there is nobody left to wait for. What the snapshots say of their
// time is not looked at: a clock that was set back is the usual reason for a lower epoch.
type succession struct {
	first, last  *snapshot.Snapshot // of the last one's epoch; nil: there is none
	began, heard time.Time
}

// hear takes notice of a valid snapshot from the channel; shown is the update that was the latest before it, or nil.
func (l *succession) hear(s *snapshot.Snapshot, shown *Update) {
	now := time.Now()
	switch {
	case shown == nil || !shown.Snapshot.Epoch.After(s.Epoch): // the epoch that is shown goes on, or a higher one begins
		*l = succession{}
	case l.last == nil, !s.NewerThan(l.last), now.Sub(l.heard) > snapshot.StaleAfter:
		*l = succession{first: s, last: s, began: now, heard: now}
	default:
		if s.Epoch != l.last.Epoch { // the next leader, of the same Redis
			l.first = s
		}
		l.last, l.heard = s, now
	}
}

// lasts reports whether it has lasted for long enough to be shown.
func (l *succession) lasts() bool {
	return l.last != nil && l.heard.Sub(l.began) >= snapshot.StepBackAfter
}

// stepBack shows the snapshots of a lower epoch from now on, if the newest one in Redis is of that epoch too: the link
// over which they came may lead to a server that is Redis's master no longer.
func (f *Feed) stepBack(ctx context.Context, lower succession) error {
	payload, err := f.client.Get(ctx, keys.Latest).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("reading %s: %w", keys.Latest, err)
	}
	s, err := snapshot.Decode(payload)
	if err != nil {
		f.refuse(refusedInvalid, fmt.Errorf("%s: %w", keys.Latest, err))
		return nil
	}
	if s.Epoch != lower.last.Epoch || s.Seq < lower.first.Seq {
		f.takeStored(payload)
		return nil
	}
	update, err := NewUpdate(payload, nil) // without a delta: clients get a keyframe
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	higher := f.latest.Load().Snapshot.Epoch
	f.metrics.stepsBack.Inc()
	f.metrics.received.Inc()
	f.log.Warn("showing snapshots of a lower epoch: redis has lost the higher one, whose clock was ahead, and nobody publishes under that one any more",
		"lower", s.Epoch, "higher", higher, "heard_for", snapshot.StepBackAfter)
	now := time.Now()
	f.heard.Store(&now)
	f.publish(update)
	return nil
}
