package client

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sightglass/shared/contract"
)

const (
	live  = contract.Live
	stale = contract.Stale
)

// consume delivers offered snapshots until the test ends, with a consumer that takes the given time for each. delivered
// returns those since its last call, once all goroutines wait.
func consume(t *testing.T, each time.Duration) (l *latest, delivered func() []string) {
	l = newLatest()
	all := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.deliver(ctx, func(s *contract.Snapshot) { all <- label(s); time.Sleep(each) })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return l, func() (labels []string) {
		synctest.Wait()
		for len(all) > 0 {
			labels = append(labels, <-all)
		}
		return labels
	}
}

// TestLatest_Order: which of the snapshots from successive edges are delivered.
func TestLatest_Order(t *testing.T) {
	for name, c := range map[string]struct {
		sent []*contract.Snapshot
		want []string
	}{
		"successive snapshots": {
			[]*contract.Snapshot{numbered("5", 1, live), numbered("5", 2, live)}, []string{"5/1 live", "5/2 live"},
		},
		"a repeated snapshot after a reconnect": {
			[]*contract.Snapshot{numbered("5", 1, live), numbered("5", 1, live)}, []string{"5/1 live"},
		},
		"an edge that is behind and catches up": {
			[]*contract.Snapshot{numbered("5", 9, live), numbered("5", 7, live), numbered("5", 8, stale), numbered("5", 9, live), numbered("5", 10, live)},
			[]string{"5/9 live", "5/10 live"},
		},
		"stale, then live": {
			[]*contract.Snapshot{numbered("5", 1, live), numbered("5", 1, stale), numbered("5", 1, stale), numbered("5", 1, live)},
			[]string{"5/1 live", "5/1 stale", "5/1 live"},
		},
		"a later epoch": {
			[]*contract.Snapshot{numbered("5", 9, live), numbered("6", 1, live), numbered("10", 1, live)},
			[]string{"5/9 live", "6/1 live", "10/1 live"},
		},
		"the edge accepts a lower epoch": {
			[]*contract.Snapshot{numbered("6", 9, stale), numbered("5", 1, live), numbered("5", 2, live), numbered("5", 1, live)},
			[]string{"6/9 stale", "5/1 live", "5/2 live"},
		},
		"an edge that has not accepted it yet": {
			[]*contract.Snapshot{numbered("6", 9, stale), numbered("5", 1, live), numbered("6", 9, stale), numbered("5", 2, live)},
			[]string{"6/9 stale", "5/1 live", "5/2 live"},
		},
		"a later epoch, all stale": {
			[]*contract.Snapshot{numbered("5", 9, stale), numbered("6", 3, stale), numbered("5", 9, stale)},
			[]string{"5/9 stale", "6/3 stale"},
		},
		"an edge that has missed the epoch": {
			[]*contract.Snapshot{numbered("6", 1, live), numbered("5", 9, stale), numbered("6", 2, live)},
			[]string{"6/1 live", "6/2 live"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, delivered := consume(t, 0)
				for _, s := range c.sent {
					l.offer(s)
					synctest.Wait()
				}
				if got := delivered(); !slices.Equal(got, c.want) {
					t.Errorf("got delivered %v, want %v", got, c.want)
				}
			})
		})
	}
}

// TestLatest_StaleAfterSilence: once, and again after the next snapshot.
func TestLatest_StaleAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, delivered := consume(t, 0)
		expect := func(want ...string) {
			t.Helper()
			if got := delivered(); !slices.Equal(got, want) {
				t.Errorf("got delivered %v, want %v", got, want)
			}
		}
		time.Sleep(time.Hour) // there is no snapshot yet
		expect()
		first := numbered("5", 10, live)
		first.Price = 5300
		l.offer(first)
		expect("5/10 live")
		time.Sleep(contract.StaleAfter - time.Millisecond)
		l.offer(numbered("5", 9, live)) // not newer
		expect()
		time.Sleep(time.Millisecond)
		expect("5/10 stale")
		if s := l.take(); s.Price != 5300 || first.Status != live {
			t.Errorf("got stale %+v, want all other fields the same, and the delivered one unchanged: %+v", s, first)
		}
		l.offer(numbered("5", 10, stale)) // the edge has marked it, too
		time.Sleep(time.Hour)
		expect()
		l.offer(numbered("5", 11, live))
		expect("5/11 live")
		time.Sleep(contract.StaleAfter)
		expect("5/11 stale")
	})
}

// TestLatest_SlowConsumerSkipsToNewest: the consumer's own delay does not make a snapshot stale.
func TestLatest_SlowConsumerSkipsToNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, delivered := consume(t, 10*time.Second)
		for seq := range uint64(200) {
			l.offer(numbered("5", seq+1, live))
			time.Sleep(500 * time.Millisecond)
		}
		got := delivered()
		// At 10 s, 20 s and so on the consumer and the feed act at the same instant.
		if len(got) < 10 || len(got) > 11 || got[0] != "5/1 live" || slices.ContainsFunc(got, func(s string) bool { return s[len(s)-4:] != "live" }) {
			t.Errorf("got delivered %v, want one of 20, all live", got)
		}
	})
}

// TestLatest_DeliversNothingTwice: a newer snapshot arrives between the wake-up of deliver and its call of take.
func TestLatest_DeliversNothingTwice(t *testing.T) {
	l := newLatest()
	l.offer(numbered("5", 10, live))
	<-l.changed
	l.offer(numbered("5", 11, live))
	if got := label(l.take()); got != "5/11 live" || len(l.changed) != 0 {
		t.Errorf("got %s with %d left to deliver, want 5/11 live with none", got, len(l.changed))
	}
}

// TestLatest_EndDeliversPendingSnapshot: the edge's last snapshot may arrive just before its close frame.
func TestLatest_EndDeliversPendingSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, delivered := consume(t, 10*time.Second)
		l.offer(numbered("5", 10, live))
		synctest.Wait() // the consumer is busy
		l.offer(numbered("5", 11, live))
		l.end()
		time.Sleep(time.Hour)
		if got, want := delivered(), []string{"5/10 live", "5/11 live"}; !slices.Equal(got, want) {
			t.Errorf("got delivered %v, want %v and nothing stale", got, want)
		}
	})
}

// TestLatest_DeliversNothingAfterContext: also if deliver cancels the context.
func TestLatest_DeliversNothingAfterContext(t *testing.T) {
	for range 20 { // select chooses at random
		l, calls := newLatest(), 0
		ctx, cancel := context.WithCancel(t.Context())
		l.offer(numbered("5", 10, live))
		l.deliver(ctx, func(*contract.Snapshot) {
			calls++
			l.offer(numbered("5", 11, live))
			cancel()
		})
		if calls != 1 {
			t.Fatalf("got %d calls of deliver, want 1", calls)
		}
	}
}

// TestLatest_SnapshotBeatsTimerAtSameInstant: an undelivered snapshot is not stale.
func TestLatest_SnapshotBeatsTimerAtSameInstant(t *testing.T) {
	l := newLatest()
	l.offer(numbered("5", 10, live))
	if !l.markStale() || l.take().Status != live {
		t.Errorf("got %s of a snapshot that has not been delivered yet, want live", label(l.take()))
	}
	if !l.markStale() || l.take().Status != stale {
		t.Errorf("got %s after silence, want stale", label(l.take()))
	}
	if l.markStale() {
		t.Error("got stale twice, want once")
	}
}

func TestBackoff_Bounds(t *testing.T) {
	for failures, most := range map[int]time.Duration{
		0: 500 * time.Millisecond, 1: time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 7: 30 * time.Second, 1000: 30 * time.Second,
	} {
		longest := time.Duration(0)
		for range 1000 {
			wait := backoff(failures)
			if wait < 0 || wait >= most {
				t.Fatalf("%d failures: got %v, want less than %v", failures, wait, most)
			}
			longest = max(longest, wait)
		}
		if longest < most*9/10 { // by chance once in 10^45
			t.Errorf("%d failures: got %v as the longest of 1000 waits, want about %v", failures, longest, most)
		}
	}
}
