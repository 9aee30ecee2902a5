package feed

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sightglass/shared/contract"
)

// watched runs the feed's stale timer, without a Redis. The channel receives what the feed delivers.
func watched(t *testing.T) (*Feed, <-chan *Update) {
	t.Helper()
	delivered := make(chan *Update, 100)
	f := New(nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	f.deliver = func(u *Update) { delivered <- u }
	ctx, stop := context.WithCancel(t.Context())
	go f.watch(ctx)
	t.Cleanup(stop)
	return f, delivered
}

func expectStatus(t *testing.T, delivered <-chan *Update, want contract.Status) {
	t.Helper()
	synctest.Wait()
	select {
	case u := <-delivered:
		if got := u.Snapshot.Status; got != want {
			t.Fatalf("got a %s update, want %s", got, want)
		}
	default:
		t.Fatalf("got no update, want a %s one", want)
	}
}

func expectNone(t *testing.T, delivered <-chan *Update) {
	t.Helper()
	synctest.Wait()
	select {
	case u := <-delivered:
		t.Fatalf("got a %s update, want none", u.Snapshot.Status)
	default:
	}
}

func TestFeed_MarksStaleOnceAfterStaleAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, delivered := watched(t)
		time.Sleep(1234 * time.Millisecond) // all sleeps are on the bubble's clock
		f.receive(encoded("1", 1), published, nil)
		expectStatus(t, delivered, contract.Live)
		time.Sleep(contract.StaleAfter - time.Millisecond)
		expectNone(t, delivered)
		time.Sleep(2 * time.Millisecond)
		expectStatus(t, delivered, contract.Stale)
		time.Sleep(time.Hour)
		expectNone(t, delivered)
		f.receive(encoded("1", 2), published, nil)
		expectStatus(t, delivered, contract.Live)
		time.Sleep(contract.StaleAfter)
		expectStatus(t, delivered, contract.Stale)
	})
}

func TestFeed_RejectedSnapshotsDoNotPreventStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, delivered := watched(t)
		f.receive(encoded("1", 2), published, nil)
		expectStatus(t, delivered, contract.Live)
		for range 10 {
			time.Sleep(contract.StaleAfter / 5)
			f.receive(encoded("1", 1), published, nil) // older
			f.receive([]byte("nonsense"), published, nil)
		}
		expectStatus(t, delivered, contract.Stale)
		expectNone(t, delivered)
	})
}

// TestFeed_OldStoredSnapshotIsNeverLive: the first that clients of a new edge get of an ingester that is gone is stale.
func TestFeed_OldStoredSnapshotIsNeverLive(t *testing.T) {
	for age, want := range map[time.Duration]contract.Status{
		contract.StaleAfter - contract.Interval: contract.Live, contract.StaleAfter: contract.Stale, time.Hour: contract.Stale,
	} {
		synctest.Test(t, func(t *testing.T) {
			f, delivered := watched(t)
			s := contract.Snapshot{Price: 50000, Status: contract.Live, Epoch: "1", Seq: 1, Timestamp: float64(time.Now().Add(-age).UnixMilli()) / 1000}
			f.receive(s.AppendJSON(nil), stored, nil)
			expectStatus(t, delivered, want)
			time.Sleep(contract.Interval)
			if want == contract.Live {
				expectStatus(t, delivered, contract.Stale)
			}
			expectNone(t, delivered)
			if got := testutil.ToFloat64(f.metrics.stale); got != 1 {
				t.Errorf("age %v: got %v counted, want 1", age, got)
			}
		})
	}
}

func encoded(epoch contract.Epoch, seq uint64) []byte {
	s := contract.Snapshot{Price: 50000, Status: contract.Live, Epoch: epoch, Seq: seq, Timestamp: 1795439823}
	return s.AppendJSON(nil)
}
