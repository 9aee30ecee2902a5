package feed

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sightglass/shared/snapshot"
)

// watched runs the feed's clock, without a Redis; what is delivered comes out of the channel.
func watched(t *testing.T) (*Feed, <-chan *Update) {
	t.Helper()
	delivered := make(chan *Update, 100)
	f := New(nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	f.deliver = func(frame *Update) { delivered <- frame }
	ctx, stop := context.WithCancel(t.Context())
	go f.watch(ctx)
	t.Cleanup(stop)
	return f, delivered
}

func expectStatus(t *testing.T, delivered <-chan *Update, want snapshot.Status) {
	t.Helper()
	synctest.Wait()
	select {
	case f := <-delivered:
		if got := f.Snapshot.Status; got != want {
			t.Fatalf("a frame that is %s, want it %s", got, want)
		}
	default:
		t.Fatalf("no frame, want one that is %s", want)
	}
}

func expectNone(t *testing.T, delivered <-chan *Update) {
	t.Helper()
	synctest.Wait()
	select {
	case f := <-delivered:
		t.Fatalf("a frame that is %s, want none", f.Snapshot.Status)
	default:
	}
}

func TestStaleComesOnceAndOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, delivered := watched(t)
		time.Sleep(1234 * time.Millisecond) // all sleeps are on the bubble's clock
		f.take(encoded("1", 1), nil)
		expectStatus(t, delivered, snapshot.Live)
		time.Sleep(snapshot.StaleAfter - time.Millisecond)
		expectNone(t, delivered)
		time.Sleep(2 * time.Millisecond)
		expectStatus(t, delivered, snapshot.Stale)
		time.Sleep(time.Hour)
		expectNone(t, delivered)
		f.take(encoded("1", 2), nil)
		expectStatus(t, delivered, snapshot.Live)
		time.Sleep(snapshot.StaleAfter)
		expectStatus(t, delivered, snapshot.Stale)
	})
}

func TestWhatIsRefusedDoesNotKeepItFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, delivered := watched(t)
		f.take(encoded("1", 2), nil)
		expectStatus(t, delivered, snapshot.Live)
		for range 10 {
			time.Sleep(snapshot.StaleAfter / 5)
			f.take(encoded("1", 1), nil) // older
			f.take([]byte("nonsense"), nil)
		}
		expectStatus(t, delivered, snapshot.Stale)
		expectNone(t, delivered)
	})
}

func encoded(epoch snapshot.Epoch, seq uint64) []byte {
	s := snapshot.Snapshot{Price: 50000, Status: snapshot.Live, Epoch: epoch, Seq: seq, Timestamp: 1795439823}
	return s.AppendJSON(nil)
}
