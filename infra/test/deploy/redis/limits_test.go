//go:build deploy

package redis

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
	"sightglass/shared/contract"
	"sightglass/shared/history"
)

// TestRedis_DropsEdgeThatDoesNotRead: Redis disconnects the edge before its output buffer is large. The edge reconnects
// by itself, and keeps its client.
func TestRedis_DropsEdgeThatDoesNotRead(t *testing.T) {
	t.Parallel()
	server, inspector := startShipped(t)
	addr := programs.FreeAddr(t)
	paused := programs.Launch(t, programs.Build(t, "edge", "edge"), "run", "--listen", addr, "--redis", as("edge", server))
	large := contract.Snapshot{Price: 5313.57, Status: contract.Live, Epoch: "5", Stats: contract.Stats{TotalReceived: 3315}}
	for range 1000 {
		large.Transactions = append(large.Transactions, contract.Point{Timestamp: 1556771671.25, Price: 5310})
	}
	publish := func() {
		t.Helper()
		large.Seq++
		large.Timestamp = float64(time.Now().UnixMilli()) / 1000
		if err := inspector.Publish(t.Context(), contract.Channel, large.AppendJSON(nil)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	subscribers := func() int {
		t.Helper()
		list, err := inspector.Do(t.Context(), "CLIENT", "LIST", "TYPE", "PUBSUB").Text()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(list, "name=sightglass-edge")
	}
	programs.Until(t, "the edge to have a snapshot", func() bool { publish(); return programs.Ready(addr) })
	v := view(t, addr)

	paused.Signal(t, syscall.SIGSTOP)
	programs.Until(t, "redis to drop the edge", func() bool { publish(); return subscribers() == 0 })
	paused.Signal(t, syscall.SIGCONT)
	programs.Until(t, "the edge to reconnect", func() bool { publish(); return subscribers() == 1 })
	last := large.Seq
	publish()
	v.until(t, "a new snapshot", func(s *contract.Snapshot) bool { return s.Seq > last })
}

// TestRedis_FullMemoryMakesSnapshotsStale: Redis rejects writes. The ingester counts each failure and logs the outage;
// edges mark the snapshot as stale.
func TestRedis_FullMemoryMakesSnapshotsStale(t *testing.T) {
	t.Parallel()
	server, inspector := startShipped(t)
	internal, log := startIngester(t, func(o *ingester.Options) { o.Redis = as("ingester", server) })
	e, _ := startEdge(t, func(o *edge.Options) { o.Redis = as("edge", server) })
	v := view(t, e.Addr().String())

	if err := inspector.ConfigSet(t.Context(), "maxmemory", "32mb").Err(); err != nil {
		t.Fatal(err)
	}
	junk := strings.Repeat("x", 1<<20)
	var err error
	for n := 0; err == nil; n++ { // up to the last bytes, as a snapshot is small
		if err = inspector.Append(t.Context(), "junk", junk).Err(); redis.IsOOMError(err) && len(junk) > 1 {
			junk, err = junk[:len(junk)/2], nil
		}
	}
	if !redis.IsOOMError(err) {
		t.Fatal(err)
	}
	v.until(t, "a stale snapshot", func(s *contract.Snapshot) bool { return s.Status == contract.Stale })
	programs.Until(t, "three failures", func() bool { return metric(t, internal, "sightglass_publish_failures_total") >= 3 })
	if n := inspector.Exists(t.Context(), contract.KeyLatest, history.KeyRecent).Val(); n != 2 {
		t.Errorf("got %d keys, want both kept", n)
	}
	if err := inspector.Del(t.Context(), "junk").Err(); err != nil {
		t.Fatal(err)
	}
	v.expectNew(t, 3)
	if n := log.Count("redis does not accept snapshots"); n < 1 || n > 2 {
		t.Errorf("got %d log lines about the outage, want 1 or 2 at its start", n)
	}
	if log.Count("OOM") == 0 || log.Count("redis accepts snapshots again") != 1 {
		t.Error("got no log line with the cause or about the recovery, want both")
	}
}

// TestRedis_MissingDiskAffectsNoSnapshot: Redis cannot save its data, and accepts every snapshot.
func TestRedis_MissingDiskAffectsNoSnapshot(t *testing.T) {
	t.Parallel()
	server, inspector := startShipped(t)
	startIngester(t, func(o *ingester.Options) { o.Redis = as("ingester", server) })
	e, log := startEdge(t, func(o *edge.Options) { o.Redis = as("edge", server) })
	v := view(t, e.Addr().String())
	if err := os.RemoveAll(inspector.ConfigGet(t.Context(), "dir").Val()["dir"]); err != nil {
		t.Fatal(err)
	}
	programs.Until(t, "the save to fail", func() bool {
		inspector.BgSave(t.Context())
		return strings.Contains(inspector.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
	})
	v.expectNew(t, 3)
	if log.Count("level=ERROR") != 0 {
		t.Error("got a log line of the edge, want none")
	}
}

// TestRedis_RestartKeepsHistory: clients of an edge stay connected.
func TestRedis_RestartKeepsHistory(t *testing.T) {
	t.Parallel()
	server, inspector := startShipped(t)
	startIngester(t, func(o *ingester.Options) { o.Redis = as("ingester", server) })
	e, _ := startEdge(t, func(o *edge.Options) { o.Redis = as("edge", server) })
	v := view(t, e.Addr().String())
	programs.Until(t, "a history", func() bool { return inspector.ZCard(t.Context(), history.KeyRecent).Val() > 0 })
	before := inspector.ZRange(t.Context(), history.KeyRecent, 0, 0).Val()
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	server.Start()
	v.expectNew(t, 3)
	if after := inspector.ZRange(t.Context(), history.KeyRecent, 0, 0).Val(); len(after) != 1 || after[0] != before[0] {
		t.Errorf("got oldest entry %v, want %v", after, before)
	}
}

// TestRedis_UnixSocket: both daemons run on the same machine as Redis.
func TestRedis_UnixSocket(t *testing.T) {
	t.Parallel()
	dir := makeUsers(t)
	server := redistest.New(t, settings(t, dir, "redis.conf"), "--unixsocket", filepath.Join(dir, "redis.sock"))
	server.Start()
	at := func(user string) (string, string) {
		return (&url.URL{Scheme: "unix", User: url.User(user), Path: filepath.Join(dir, "redis.sock")}).String(), filepath.Join(dir, user+".password")
	}
	startIngester(t, func(o *ingester.Options) { o.Redis, o.RedisPasswordFile = at("ingester") })
	e, _ := startEdge(t, func(o *edge.Options) { o.Redis, o.RedisPasswordFile = at("edge") })
	view(t, e.Addr().String()).expectNew(t, 3)
	if n := strings.Count(admin(t, server, dir).Do(t.Context(), "CLIENT", "LIST").String(), "redis.sock"); n < 2 {
		t.Errorf("got %d connections through the socket, want 2 or more", n)
	}
}
