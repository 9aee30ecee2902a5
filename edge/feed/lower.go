package feed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
)

// A lowerRun is an unbroken run of snapshots on the channel whose epoch is lower than that of the latest update.
//
// Redis publishes a snapshot only if its epoch is the latest one granted, so each snapshot of the run proves that this
// Redis does not know the higher epoch: it was emptied or restored from an old copy, and the clock of the ingester that
// then claimed an epoch is behind that of the previous leader. If the ingester of the higher epoch is alive, Redis rejects
// its snapshots and it claims an epoch higher than both. If that has not happened within contract.StepBackAfter, by this
// edge's own clock, no such ingester is left. The snapshots' timestamps are not used: a clock that was set back is the
// usual reason for a lower epoch.
type lowerRun struct {
	first, last         *contract.Snapshot // of the last snapshot's epoch; nil: no run
	startedAt, lastSeen time.Time
}

// observe updates the run with a valid snapshot from the channel. latest is the update before it, or nil.
func (l *lowerRun) observe(s *contract.Snapshot, latest *Update) {
	now := time.Now()
	switch {
	case latest == nil || !latest.Snapshot.Epoch.After(s.Epoch): // the epoch is the latest one or higher
		*l = lowerRun{}
	case l.last == nil, !s.NewerThan(l.last), now.Sub(l.lastSeen) > contract.StaleAfter:
		*l = lowerRun{first: s, last: s, startedAt: now, lastSeen: now}
	default:
		if s.Epoch != l.last.Epoch { // the next leader on the same Redis
			l.first = s
		}
		l.last, l.lastSeen = s, now
	}
}

// isLongEnough reports whether the run has lasted for contract.StepBackAfter.
func (l *lowerRun) isLongEnough() bool {
	return l.last != nil && l.lastSeen.Sub(l.startedAt) >= contract.StepBackAfter
}

// acceptLowerEpoch makes the latest snapshot in Redis the feed's latest, although its epoch is lower. It does so only if
// that snapshot belongs to the run: the link that delivered the run may lead to a server that is no longer the master.
func (f *Feed) acceptLowerEpoch(ctx context.Context, run lowerRun) error {
	payload, err := f.client.Get(ctx, contract.KeyLatest).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("reading %s: %w", contract.KeyLatest, err)
	}
	s, err := contract.DecodeSnapshot(payload)
	if err != nil {
		f.reject(rejectedInvalid, fmt.Errorf("%s: %w", contract.KeyLatest, err))
		return nil
	}
	if s.Epoch != run.last.Epoch || s.Seq < run.first.Seq {
		f.receive(payload, stored, nil)
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
	f.log.Warn("accepted snapshots of a lower epoch: redis lost the higher one, whose clock was ahead, and no ingester publishes under it",
		"lower", s.Epoch, "higher", higher, "received_for", contract.StepBackAfter)
	now := time.Now()
	f.receivedAt.Store(&now)
	f.publish(update)
	return nil
}
