package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"sightglass/edge/feed"
	"sightglass/infra/test/internal/daemons"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/shared/contract"
	"sightglass/shared/redisurl"
)

func encode(epoch contract.Epoch, seq uint64) string {
	s := contract.Snapshot{Price: 5313.57, Status: contract.Live, Timestamp: 4e9, Epoch: epoch, Seq: seq}
	return string(s.AppendJSON(nil))
}

// follow runs a feed. The channel receives its updates.
func follow(t *testing.T, url string) (*feed.Feed, <-chan *feed.Update, *prometheus.Registry) {
	t.Helper()
	client, err := redisurl.Open(url, redisurl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	t.Cleanup(func() { client.Close() })
	f, frames := feed.New(client, quiet(t), reg), make(chan *feed.Update, 100)
	daemons.Run(t, func(ctx context.Context) error {
		f.Run(ctx, func(frame *feed.Update) { frames <- frame })
		return nil
	})
	return f, frames, reg
}

func publish(t *testing.T, client *redis.Client, payload string) {
	t.Helper()
	if err := client.Publish(t.Context(), contract.Channel, payload).Err(); err != nil {
		t.Fatal(err)
	}
}

func expectSeq(t *testing.T, frames <-chan *feed.Update, epoch contract.Epoch, seq uint64) {
	t.Helper()
	if s := (<-frames).Snapshot; s.Epoch != epoch || s.Seq != seq {
		t.Fatalf("got epoch %s seq %d, want epoch %s seq %d", s.Epoch, s.Seq, epoch, seq)
	}
}

// TestFeed_SkipsInvalidSnapshots publishes messages that are not valid, new snapshots.
func TestFeed_SkipsInvalidSnapshots(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	f, frames, reg := follow(t, server.URL())
	programs.Until(t, "the subscription", f.Connected)

	publish(t, client, encode("5", 10))
	for _, bad := range []string{
		"", "nonsense", "[]", "{}", encode("5", 11)[:50],
		strings.Replace(encode("5", 11), `5313.57`, `"5313.57"`, 1),
		strings.Repeat("x", 1<<20),
	} {
		publish(t, client, bad)
	}
	publish(t, client, encode("5", 9))  // older
	publish(t, client, encode("4", 99)) // of an older epoch
	publish(t, client, encode("5", 10)) // repeated
	publish(t, client, encode("5", 11))
	publish(t, client, encode("6", 1))
	expectSeq(t, frames, "5", 10)
	expectSeq(t, frames, "5", 11)
	expectSeq(t, frames, "6", 1)
	want := `
# HELP sightglass_feed_rejected_total Snapshots that were rejected, by reason.
# TYPE sightglass_feed_rejected_total counter
sightglass_feed_rejected_total{reason="invalid"} 7
sightglass_feed_rejected_total{reason="old"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "sightglass_feed_rejected_total"); err != nil {
		t.Error(err)
	}
}

// TestFeed_CatchesUpAfterSubscribing: the feed has a snapshot although none is published while it runs.
func TestFeed_CatchesUpAfterSubscribing(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client().Set(t.Context(), contract.KeyLatest, encode("5", 10), 0).Err(); err != nil {
		t.Fatal(err)
	}
	_, frames, _ := follow(t, server.URL())
	expectSeq(t, frames, "5", 10)
}

// TestFeed_OldSnapshotInRedisIsStale: an edge that starts long after the ingester's end never says that the snapshot is live.
func TestFeed_OldSnapshotInRedisIsStale(t *testing.T) {
	server := redistest.Start(t)
	old := contract.Snapshot{Price: 5313.57, Status: contract.Live, Timestamp: 1556771671, Epoch: "5", Seq: 10}
	if err := server.Client().Set(t.Context(), contract.KeyLatest, old.AppendJSON(nil), 0).Err(); err != nil {
		t.Fatal(err)
	}
	_, frames, _ := follow(t, server.URL())
	if s := (<-frames).Snapshot; s.Status != contract.Stale || s.Price != old.Price {
		t.Errorf("got %+v, want the snapshot in Redis, stale", s)
	}
}

// TestFeed_ResubscribesAfterClientKill: after CLIENT KILL the feed subscribes again and catches up.
func TestFeed_ResubscribesAfterClientKill(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	f, frames, _ := follow(t, server.URL())
	programs.Until(t, "the subscription", f.Connected)
	publish(t, client, encode("5", 10))
	expectSeq(t, frames, "5", 10)

	if err := client.Set(t.Context(), contract.KeyLatest, encode("5", 11), 0).Err(); err != nil { // missed
		t.Fatal(err)
	}
	if err := client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	expectSeq(t, frames, "5", 11)
	publish(t, client, encode("5", 12))
	expectSeq(t, frames, "5", 12)
}

// TestFeed_LogsStartOfEachOutageTwice: the second outage too, although it begins within a minute of the first.
func TestFeed_LogsStartOfEachOutageTwice(t *testing.T) {
	server := redistest.Start(t)
	client, err := redisurl.Open(server.URL(), redisurl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	journal, log := daemons.NewJournal(t)
	f := feed.New(client, log, prometheus.NewRegistry())
	daemons.Run(t, func(ctx context.Context) error { f.Run(ctx, func(*feed.Update) {}); return nil })
	for outage := 1; outage <= 2; outage++ {
		programs.Until(t, "the subscription", func() bool {
			return f.Connected() && journal.Count("subscribed to snapshots on redis") == outage
		})
		server.Kill()
		programs.Until(t, "two lines about the outage", func() bool { return journal.Count("lost connection to redis") == 2*outage })
		server.Start()
	}
}
