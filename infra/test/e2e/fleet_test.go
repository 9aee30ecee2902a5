package e2e

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/infra/test/internal/wstest"
	"sightglass/shared/contract"
)

// fleet runs edges that share their counts. Redis has a snapshot, so each client that joins gets one.
func fleet(t *testing.T, server *redistest.Server, n int, set func(*edge.Options)) []*edge.Edge {
	t.Helper()
	if err := server.Client().Set(t.Context(), contract.KeyLatest, encode("5", 10), 0).Err(); err != nil {
		t.Fatal(err)
	}
	edges := make([]*edge.Edge, n)
	for i := range edges {
		e := edgeWith(t, server, func(o *edge.Options) {
			o.LimitScope, o.LimitLease, o.HandshakesPerMinute = "cluster", 3*time.Second, 1_000_000
			set(o)
		})
		edges[i] = e
		programs.Until(t, "the edge to have the snapshot", func() bool { code, _ := get(t, e, "/api/v1/snapshot"); return code == http.StatusOK })
	}
	return edges
}

func TestConnLimit_CountsAcrossEdges(t *testing.T) {
	server := redistest.Start(t)
	edges := fleet(t, server, 2, unchanged)
	a, b := edges[0].Addr(), edges[1].Addr()
	ten := wstest.MustJoin(t, perAddress, source(0), a, b)
	wstest.MustNotJoin(t, source(0), a, b)
	wstest.MustJoin(t, 1, source(1), a)

	// Renewed leases last longer than their duration.
	client, key := server.Client(), contract.KeyLimitPrefix+source(0).String()
	given := client.ZRangeWithScores(t.Context(), key, 0, -1).Val()
	programs.Until(t, "all leases to be renewed", func() bool {
		last := given[len(given)-1].Score
		return client.ZCount(t.Context(), key, "("+strconv.FormatFloat(last, 'f', -1, 64), "+inf").Val() == perAddress
	})
	wstest.MustNotJoin(t, source(0), a, b)

	if err := ten[0].Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	programs.Until(t, "the lease to be released", func() bool { return client.ZCard(t.Context(), key).Val() == perAddress-1 })
	wstest.MustJoin(t, 1, source(0), b)
	wstest.MustNotJoin(t, source(0), a, b)
}

// TestConnLimit_LeasesEndWithEdge: the leases of a killed edge expire; an edge that stops releases its leases.
func TestConnLimit_LeasesEndWithEdge(t *testing.T) {
	server := redistest.Start(t)
	survivor := fleet(t, server, 1, unchanged)[0].Addr()
	program := programs.Build(t, "edge", "edge")
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			addr := programs.FreeAddr(t)
			d := programs.Launch(t, program, "run", "--listen", addr, "--redis", server.URL(), "--limit-scope", "cluster", "--limit-lease", "3s")
			programs.Until(t, "the edge to be alive", func() bool { return programs.Alive(addr) })
			dying, err := net.ResolveTCPAddr("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			wstest.MustJoin(t, perAddress, source(0), dying)
			wstest.MustNotJoin(t, source(0), survivor)
			d.Signal(t, signal)
			d.Wait()
			client := server.Client()
			if signal == syscall.SIGTERM && client.Exists(t.Context(), contract.KeyLimitPrefix+source(0).String()).Val() != 0 {
				t.Error("got leases of an edge that stopped, want none")
			}
			programs.Until(t, "a connection to the other edge", func() bool {
				conn, code := wstest.Join(t, wstest.URL(survivor.String()), source(0), nil)
				conn.CloseNow()
				return code == 0
			})
			programs.Until(t, "the last lease to be released", func() bool { return client.Exists(t.Context(), contract.KeyLimitPrefix+source(0).String()).Val() == 0 })
		})
	}
}

// TestConnLimit_CountsPerEdgeWithoutRedis: edges register their clients again when an empty Redis is back.
func TestConnLimit_CountsPerEdgeWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	edges := fleet(t, server, 2, unchanged)
	a, b := edges[0].Addr(), edges[1].Addr()
	wstest.MustJoin(t, perAddress-1, source(0), a)
	server.Kill()
	wstest.MustJoin(t, 1, source(0), a)
	wstest.MustNotJoin(t, source(0), a)
	wstest.MustJoin(t, perAddress, source(0), b)
	wstest.MustNotJoin(t, source(0), b)
	server.Start()
	client := server.Client()
	programs.Until(t, "all clients to be counted in redis", func() bool {
		return client.ZCard(t.Context(), contract.KeyLimitPrefix+source(0).String()).Val() == 2*perAddress
	})
	wstest.MustJoin(t, perAddress, source(1), a)
	wstest.MustNotJoin(t, source(1), b)
}

// TestConnLimit_HungRedisDoesNotDelayHandshakes: handshakes succeed while Redis does not answer.
func TestConnLimit_HungRedisDoesNotDelayHandshakes(t *testing.T) {
	server := redistest.Start(t)
	e := fleet(t, server, 1, unchanged)[0]
	client := server.Client()
	if err := client.Do(t.Context(), "CLIENT", "PAUSE", time.Hour.Milliseconds(), "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	wstest.MustJoin(t, perAddress, source(0), e.Addr())
	wstest.MustNotJoin(t, source(0), e.Addr())
}

// TestConnLimit_DocumentedRightsSuffice uses the rights that docs/redis.md names, and no others.
func TestConnLimit_DocumentedRightsSuffice(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	rights := "on >secret resetkeys resetchannels %R~sightglass:* &sightglass:* -@all +get +subscribe +unsubscribe +ping +hello +client|setname " +
		"~sightglass:limit:* +eval +evalsha +time +zadd +zcard +zrem +zremrangebyscore +pexpire"
	args := []any{"ACL", "SETUSER", "edge"}
	for right := range strings.FieldsSeq(rights) {
		args = append(args, right)
	}
	if err := client.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	edges := fleet(t, server, 2, func(o *edge.Options) { o.Redis = "redis://edge:secret@" + server.Addr() })
	conns := wstest.MustJoin(t, perAddress, source(0), edges[0].Addr(), edges[1].Addr())
	wstest.MustNotJoin(t, source(0), edges[0].Addr(), edges[1].Addr())
	for _, conn := range conns {
		conn.CloseNow()
	}
	programs.Until(t, "the leases to be released", func() bool { return client.Exists(t.Context(), contract.KeyLimitPrefix+source(0).String()).Val() == 0 })
	denied, err := client.Do(t.Context(), "ACL", "LOG").Slice()
	if err != nil || len(denied) != 0 {
		t.Errorf("got denied commands %v, error %v, want none", denied, err)
	}
}
