package client

import (
	"context"
	"sync"
	"time"

	"sightglass/shared/contract"
)

// latest holds the newest snapshot until the consumer takes it. A newer one replaces it: without that, a slow consumer
// would fall behind by minutes of deltas, which fit into the sockets' buffers.
type latest struct {
	mu      sync.Mutex
	s       *contract.Snapshot // nil before the first
	changed chan struct{}      // has room for one; full while s has not been delivered
}

func newLatest() *latest { return &latest{changed: make(chan struct{}, 1)} }

// offer takes a snapshot that an edge sent, if it replaces the latest.
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

// replaces reports whether s is to be delivered after old, which may be nil. The package comment has the rule.
func replaces(s, old *contract.Snapshot) bool {
	switch {
	case old == nil:
		return true
	case s.Epoch == old.Epoch:
		return s.NewerThan(old) || s.Seq == old.Seq && s.Status != old.Status
	case s.Status == contract.Stale:
		return s.NewerThan(old) && old.Status == contract.Stale
	}
	return true // of a higher epoch, or of a lower one, which only a keyframe begins
}

// end ends deliver, once everything has been delivered. There must be no offer after it.
func (l *latest) end() { close(l.changed) }

// deliver calls f with each newest snapshot until ctx or end ends it, and with a stale copy when no newer one comes.
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
		if ctx.Err() != nil { // f may have canceled it, and select chooses at random
			return
		}
		f(l.take())
		silence.Reset(contract.StaleAfter) // only now: while f ran, newer ones could not be delivered
	}
}

// markStale makes the latest snapshot a stale one, and reports whether there is anything to deliver.
func (l *latest) markStale() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case _, more := <-l.changed: // it came together with the timer
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

// take returns the latest snapshot, which then is delivered.
func (l *latest) take() *contract.Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.changed: // a newer one came since deliver was woken, and is the one returned
	default:
	}
	return l.s
}
