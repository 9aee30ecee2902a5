//go:build deploy

package redis

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sightglass/edge"
	"sightglass/infra/test/internal/daemons"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
	"sightglass/shared/contract"
)

// startCluster starts three nodes as docs/redis.md describes, and returns the directory of the users' passwords.
func startCluster(t *testing.T) (nodes []*redistest.Server, dir string) {
	t.Helper()
	dir = makeUsers(t)
	create := []string{"--user", "admin", "--no-auth-warning", "--cluster-yes", "--cluster", "create"}
	for range 3 {
		own := t.TempDir()
		write(t, filepath.Join(own, "users.acl"), read(t, filepath.Join(dir, "users.acl")))
		_, bus, err := net.SplitHostPort(programs.FreeAddr(t))
		if err != nil {
			t.Fatal(err)
		}
		s := redistest.New(t, settings(t, own, "redis.conf", "redis-cluster.conf"), "--cluster-port", bus)
		s.Start()
		nodes, create = append(nodes, s), append(create, s.Addr())
	}
	output(t, []string{"REDISCLI_AUTH=" + password(t, dir, "admin")}, "redis-cli", create...)
	for _, s := range nodes {
		client := admin(t, s, dir)
		programs.Until(t, "the cluster to be complete", func() bool {
			return strings.Contains(client.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
		})
	}
	return nodes, dir
}

// TestCluster_StreamContinuesWhileSlotMoves: the daemons find all nodes from one seed, and the stream continues while a
// slot moves.
func TestCluster_StreamContinuesWhileSlotMoves(t *testing.T) {
	t.Parallel()
	nodes, dir := startCluster(t)
	seed := "redis+cluster://USER@" + nodes[0].Addr()
	var writer ingester.Options
	writer.Redis, writer.RedisPasswordFile = strings.Replace(seed, "USER", "ingester", 1), filepath.Join(dir, "ingester.password")
	internal, ingesterLog := startIngester(t, func(o *ingester.Options) { o.Redis, o.RedisPasswordFile = writer.Redis, writer.RedisPasswordFile })
	var edges []*edge.Edge
	var logs []*daemons.Journal
	for range 2 {
		e, log := startEdge(t, func(o *edge.Options) {
			o.Redis, o.RedisPasswordFile = strings.Replace(seed, "USER", "edge-limits", 1), filepath.Join(dir, "edge-limits.password")
			o.LimitScope = "cluster"
		})
		edges, logs = append(edges, e), append(logs, log)
	}
	view(t, edges[0].Addr().String())
	expectTenOnAll(t, 1, edges...)
	programs.Until(t, "a history", func() bool { return historyOf(t, edges[0]) > 0 && historyOf(t, edges[1]) > 0 })
	keepState(t, writer)
	keepHistory(t, open(t, writer.Redis, writer.RedisPasswordFile))
	for _, log := range append(logs, ingesterLog) {
		if log.Count("level=ERROR") != 0 {
			t.Error("got errors in the log, want none")
		}
	}

	v := view(t, edges[0].Addr().String())
	move(t, nodes, dir, contract.KeyLatest)
	published := metric(t, internal, "sightglass_publish_snapshots_total")
	v.expectNew(t, 5)
	if metric(t, internal, "sightglass_publish_snapshots_total") <= published {
		t.Error("got no snapshot after the move, want one")
	}
	for _, s := range nodes {
		if denied, err := admin(t, s, dir).Do(t.Context(), "ACL", "LOG").Slice(); err != nil || len(denied) != 0 {
			t.Errorf("got denied commands %v, error %v, want none", denied, err)
		}
	}
}

// move moves the slot of a key to another node, as redis-cli --cluster reshard does.
func move(t *testing.T, nodes []*redistest.Server, dir, key string) {
	t.Helper()
	clients, ids := make([]*redis.Client, len(nodes)), make([]string, len(nodes))
	from := -1
	slot := int(admin(t, nodes[0], dir).ClusterKeySlot(t.Context(), key).Val())
	for i, s := range nodes {
		clients[i] = admin(t, s, dir)
		ids[i] = clients[i].ClusterMyID(t.Context()).Val()
		if clients[i].Exists(t.Context(), key).Err() == nil { // the others answer MOVED
			from = i
		}
	}
	to := (from + 1) % len(nodes)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(clients[to].Do(t.Context(), "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from]).Err())
	must(clients[from].Do(t.Context(), "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to]).Err())
	for {
		names, err := clients[from].ClusterGetKeysInSlot(t.Context(), slot, 100).Result()
		must(err)
		if len(names) == 0 {
			break
		}
		args := []any{"MIGRATE", "127.0.0.1", nodes[to].Port(), "", 0, 5000, "AUTH2", "admin", password(t, dir, "admin"), "KEYS"}
		for _, name := range names {
			args = append(args, name)
		}
		must(clients[from].Do(t.Context(), args...).Err())
	}
	for _, i := range []int{to, from} {
		must(clients[i].Do(t.Context(), "CLUSTER", "SETSLOT", slot, "NODE", ids[to]).Err())
	}
}
