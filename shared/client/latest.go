package client

import (
	"context"
	"sync"
	"time"

	"sightglass/shared/snapshot"
)

// staleAfter is the time without a newer snapshot after which the last one is stale, the same as on an edge.
const staleAfter = 3 * time.Second

// latest holds the newest snapshot until the consumer takes it. A newer one replaces it: without that, a slow consumer
// would fall behind by minutes of deltas, which fit into the sockets' buffers.
type latest struct {
	mu      sync.Mutex
	s       *snapshot.Snapshot // nil before the first
	changed chan struct{}      // has room for one; full while s has not been delivered
}

func newLatest() *latest { return &latest{changed: make(chan struct{}, 1)} }

// offer takes a snapshot that an edge sent, if it replaces the latest.
func (l *latest) offer(s *snapshot.Snapshot) {
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
func replaces(s, old *snapshot.Snapshot) bool {
	switch {
	case s.NewerThan(old):
		return true
	case s.Epoch == old.Epoch:
		return s.Seq == old.Seq && s.Status != old.Status
	}
	return s.Status != snapshot.Stale // of a lower epoch, which only a keyframe begins
}

// deliver calls f with each newest snapshot until ctx ends, and with a stale copy when no newer one comes.
func (l *latest) deliver(ctx context.Context, f func(*snapshot.Snapshot)) {
	silence := time.NewTimer(staleAfter)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.changed:
		case <-silence.C:
			if !l.markStale() {
				continue
			}
		}
		f(l.get())
		silence.Reset(staleAfter) // only now: while f ran, newer ones could not be delivered
	}
}

// deliverLast calls f with the snapshot that deliver has left over, if there is one.
func (l *latest) deliverLast(f func(*snapshot.Snapshot)) {
	select {
	case <-l.changed:
		f(l.get())
	default:
	}
}

// markStale makes the latest snapshot a stale one, and reports whether there is anything to deliver.
func (l *latest) markStale() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.changed: // one came together with the timer
		return true
	default:
	}
	if l.s == nil || l.s.Status == snapshot.Stale {
		return false
	}
	stale := *l.s
	stale.Status = snapshot.Stale
	l.s = &stale
	return true
}

func (l *latest) get() *snapshot.Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s
}
