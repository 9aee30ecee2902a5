//go:build deploy

// Package redis runs both daemons on Redis as operators run it, with the files of infra/redis: users, TLS, Sentinel, a
// Cluster, and their failures.
package redis

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"sightglass/edge"
	"sightglass/infra/test/internal/daemons"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/infra/test/internal/wstest"
	"sightglass/ingester"
	"sightglass/shared/contract"
	"sightglass/shared/redisurl"
)

// shipped is the folder of the files for operators.
var shipped = filepath.Join("..", "..", "..", "redis")

// settings joins files of infra/redis, as their includes do, and replaces the system's paths.
func settings(t *testing.T, dir string, names ...string) (file string) {
	t.Helper()
	var text []byte
	for _, name := range names {
		part, err := os.ReadFile(filepath.Join(shipped, name))
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	file = filepath.Join(dir, names[len(names)-1])
	return write(t, file, strings.NewReplacer("/var/lib/redis", dir, "/etc/redis/tls", dir, "/etc/redis", dir).Replace(string(text)))
}

func write(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil { // atomic, as a program may read the file meanwhile
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// makeUsers returns a directory with users.acl and the users' passwords.
func makeUsers(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	output(t, nil, filepath.Join(shipped, "make-users"), dir)
	return dir
}

func password(t *testing.T, dir, user string) string {
	t.Helper()
	return read(t, filepath.Join(dir, user+".password"))
}

// admin connects as the operator.
func admin(t *testing.T, server *redistest.Server, dir string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "admin", Password: password(t, dir, "admin")})
	t.Cleanup(func() { client.Close() })
	return client
}

// startIngester replays the block to an ingester until the test ends.
func startIngester(t *testing.T, set func(*ingester.Options)) (internal string, log *daemons.Journal) {
	t.Helper()
	log, logger := daemons.NewJournal(t)
	endpoint, replay := daemons.Replay(t, logger)
	o := ingester.Defaults()
	o.ZMQ, o.InternalListen, o.Log = []string{endpoint}, programs.FreeAddr(t), logger
	set(&o)
	in, err := ingester.New(o)
	if err != nil {
		t.Fatal(err)
	}
	daemons.Run(t, in.Run, replay)
	return o.InternalListen, log
}

// startEdge runs an edge until the test ends.
func startEdge(t *testing.T, set func(*edge.Options)) (*edge.Edge, *daemons.Journal) {
	t.Helper()
	log, logger := daemons.NewJournal(t)
	e := daemons.StartEdge(t, logger, func(o *edge.Options) {
		o.HandshakesPerMinute = 1_000_000
		set(o)
	})
	return e, log
}

// A viewer is a client that fails the test if an awaited snapshot does not arrive.
type viewer struct{ wstest.Viewer }

// view connects a client and waits for a live price of the whole block.
func view(t *testing.T, addr string) *viewer {
	t.Helper()
	v := new(viewer)
	programs.Until(t, "an accepted client", func() (ok bool) {
		conn, _, err := wstest.Dial(t, wstest.URL(addr), nil, websocket.DialOptions{})
		v.Conn = conn
		return err == nil
	})
	v.until(t, "the price", func(s *contract.Snapshot) bool {
		return s.Status == contract.Live && s.Stats.TotalReceived == daemons.BlockTransactions
	})
	return v
}

// until reads until a snapshot satisfies met.
func (v *viewer) until(t *testing.T, what string, met func(*contract.Snapshot) bool) {
	t.Helper()
	if err := v.Until(t.Context(), 2*time.Minute, met); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// expectNew waits for n live snapshots of later times than now.
func (v *viewer) expectNew(t *testing.T, n int) {
	t.Helper()
	from := float64(time.Now().UnixMilli()) / 1000
	v.until(t, "the next snapshots", func(s *contract.Snapshot) bool {
		if s.Status == contract.Live && s.Timestamp > from {
			n--
		}
		return n <= 0
	})
}

// keepState writes the engine's state as an ingester does, which writes it only in its second minute.
func keepState(t *testing.T, o ingester.Options) {
	t.Helper()
	client, err := redisurl.Open(o.Redis, redisurl.Options{PasswordFile: o.RedisPasswordFile})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Set(t.Context(), contract.KeyEngine, "", 0).Err(); err != nil {
		t.Error(err)
	}
	if err := client.Get(t.Context(), contract.KeyEngine).Err(); err != nil {
		t.Error(err)
	}
}

// historyOf returns the number of history points that an edge serves.
func historyOf(t *testing.T, e *edge.Edge) int {
	t.Helper()
	answer, err := http.Get("http://" + e.Addr().String() + "/api/v1/history")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var history struct{ Points [][]float64 }
	if err := json.NewDecoder(answer.Body).Decode(&history); err != nil && answer.StatusCode == http.StatusOK {
		t.Fatal(err)
	}
	return len(history.Points)
}

// metric returns a metric of a daemon's internal listener.
func metric(t *testing.T, internal, name string) float64 {
	t.Helper()
	value, ok := programs.Metric(internal, name)
	if !ok {
		t.Fatalf("got no metric %s", name)
	}
	return value
}

// expectTenOnAll: an address may have ten connections on all edges together.
func expectTenOnAll(t *testing.T, from int, edges ...*edge.Edge) {
	t.Helper()
	ip := net.IPv4(127, 0, 1, byte(from))
	var addrs []net.Addr
	for _, e := range edges {
		addrs = append(addrs, e.Addr())
	}
	wstest.MustJoin(t, 10, ip, addrs...)
	wstest.MustNotJoin(t, ip, addrs...)
}
