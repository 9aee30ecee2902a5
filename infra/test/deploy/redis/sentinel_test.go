//go:build deploy

package redis

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
)

const sentinelPassword = "of the Sentinels themselves"

// A sentinelSetup is a master, its replica, and three Sentinels.
type sentinelSetup struct {
	dir             string // with the users' passwords
	master, replica *redistest.Server
	sentinels       []*redistest.Server
}

func startSentinels(t *testing.T) *sentinelSetup {
	t.Helper()
	w := &sentinelSetup{dir: makeUsers(t)}
	server := func(args ...string) *redistest.Server {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "users.acl"), read(t, filepath.Join(w.dir, "users.acl")))
		args = append(args, "--masteruser", "replica", "--masterauth", password(t, w.dir, "replica"))
		s := redistest.New(t, settings(t, dir, "redis.conf"), args...)
		s.Start()
		return s
	}
	w.master = server()
	w.replica = server("--replicaof", "127.0.0.1 "+w.master.Port())
	for range 3 {
		dir := t.TempDir()
		file := settings(t, dir, "sentinel.conf")
		text := strings.NewReplacer("MASTER 6379", "127.0.0.1 "+w.master.Port(), "PASSWORD", password(t, w.dir, "sentinel")).Replace(read(t, file))
		text += fmt.Sprintf("requirepass %q\nsentinel sentinel-pass %q\n", sentinelPassword, sentinelPassword)
		s := redistest.New(t, write(t, file, text), "--sentinel")
		s.Start()
		w.sentinels = append(w.sentinels, s)
	}
	w.awaitHealth(t)
	return w
}

// awaitHealth waits until a failover can succeed.
func (w *sentinelSetup) awaitHealth(t *testing.T) {
	t.Helper()
	for _, s := range w.sentinels {
		client := redis.NewSentinelClient(&redis.Options{Addr: s.Addr(), Password: sentinelPassword})
		programs.Until(t, "every Sentinel to know the others", func() bool {
			master, err := client.Master(t.Context(), "sightglass").Result()
			return err == nil && master["num-slaves"] == "1" && master["num-other-sentinels"] == "2" && master["flags"] == "master"
		})
		client.Close()
	}
	client := admin(t, w.replica, w.dir)
	programs.Until(t, "the replica to be in sync", func() bool {
		return strings.Contains(client.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
}

func (w *sentinelSetup) url(name string) string {
	return fmt.Sprintf("redis+sentinel://:%s@%s?master_name=%s&addr=%s&addr=%s",
		strings.ReplaceAll(sentinelPassword, " ", "%20"), w.sentinels[0].Addr(), name, w.sentinels[1].Addr(), w.sentinels[2].Addr())
}

// TestSentinel_FailoverKeepsClients: a replica is promoted, and clients stay connected and get new prices, never an
// older one.
func TestSentinel_FailoverKeepsClients(t *testing.T) {
	t.Parallel()
	w := startSentinels(t)
	startIngester(t, func(o *ingester.Options) {
		o.Redis, o.RedisPasswordFile = w.url("sightglass")+"&username=ingester", filepath.Join(w.dir, "ingester.password")
	})
	e, _ := startEdge(t, func(o *edge.Options) {
		o.Redis, o.RedisPasswordFile = w.url("sightglass")+"&username=edge-limits", filepath.Join(w.dir, "edge-limits.password")
		o.LimitScope = "cluster"
	})
	v := view(t, e.Addr().String())
	v.expectNew(t, 3)
	programs.Until(t, "a history", func() bool { return historyOf(t, e) > 0 })
	points := historyOf(t, e)

	w.master.Kill()
	v.expectNew(t, 5)
	if n := historyOf(t, e); n < points {
		t.Errorf("got %d points of history, want %d or more", n, points)
	}
	info := admin(t, w.replica, w.dir)
	if !strings.Contains(info.Info(t.Context(), "replication").Val(), "role:master") {
		t.Error("got another role of the replica, want it promoted")
	}

	w.master.Start() // now as the replica
	old := admin(t, w.master, w.dir)
	programs.Until(t, "the old master to replicate", func() bool {
		return strings.Contains(old.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	w.replica.Kill()
	v.expectNew(t, 5)
	if denied, err := old.Do(t.Context(), "ACL", "LOG").Slice(); err != nil || len(denied) != 0 {
		t.Errorf("got denied commands %v, error %v, want none", denied, err)
	}
}

// TestSentinel_UnknownMasterIsNamed: the edge logs the master's name.
func TestSentinel_UnknownMasterIsNamed(t *testing.T) {
	t.Parallel()
	w := startSentinels(t)
	_, log := startEdge(t, func(o *edge.Options) { o.Redis = w.url("mymaster") })
	programs.Until(t, "the master's name in the edge's log", func() bool { return log.Count(`the Sentinels have no master \"mymaster\"`) > 0 })
}
