package client

import (
	"context"
	"sync"
	"time"

	"sightglass/shared/contract"
)

// latest holds the newest snapshot until the consumer is ready for it. A newer one replaces it. Otherwise a slow
// consumer would fall behind by the minutes of deltas that fit into the sockets' buffers.
type latest struct {
	mu      sync.Mutex
	s       *contract.Snapshot // nil before the first
	changed chan struct{}      // capacity 1; full until s is delivered
}

func newLatest() *latest { return &latest{changed: make(chan struct{}, 1)} }

// offer replaces the latest snapshot by s, if s is newer.
func (l *latest) offer(s *contract.Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !replaces(s, l.s) {
		return
	}
	l.s = s
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// replaces reports whether s may be delivered after old, which may be nil. See the package comment.
func replaces(s, old *contract.Snapshot) bool {
	switch {
	case old == nil:
		return true
	case s.Epoch == old.Epoch:
		return s.NewerThan(old) || s.Seq == old.Seq && s.Status != old.Status
	case s.Status == contract.Stale:
		return s.NewerThan(old) && old.Status == contract.Stale
	}
	return true // of a higher epoch, or of a lower one, which starts with a keyframe
}

// end makes deliver return after the last delivery. offer must not be called afterwards.
func (l *latest) end() { close(l.changed) }

// deliver calls f with each newest snapshot until ctx ends or end is called, and with a stale copy when no newer one is
// received.
func (l *latest) deliver(ctx context.Context, f func(*contract.Snapshot)) {
	silence := time.NewTimer(contract.StaleAfter)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, more := <-l.changed:
			if !more {
				return
			}
		case <-silence.C:
			if !l.markStale() {
				continue
			}
		}
		if ctx.Err() != nil { // f may have cancelled ctx, and select chooses at random
			return
		}
		f(l.take())
		silence.Reset(contract.StaleAfter) // only now: newer snapshots could not be delivered while f ran
	}
}

// markStale replaces the latest snapshot by a stale copy. It reports whether there is something to deliver.
func (l *latest) markStale() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case _, more := <-l.changed: // a snapshot was received together with the timer
		return more
	default:
	}
	if l.s == nil || l.s.Status == contract.Stale {
		return false
	}
	stale := *l.s
	stale.Status = contract.Stale
	l.s = &stale
	return true
}

// take returns the latest snapshot and marks it as delivered.
func (l *latest) take() *contract.Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.changed: // a newer one was received after deliver woke up; it is the one returned
	default:
	}
	return l.s
}
