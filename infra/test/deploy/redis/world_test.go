//go:build deploy

// Package redis runs both daemons on Redis as operators run it, with the files of infra/redis: users, TLS, Sentinel, a
// Cluster, and what goes wrong there.
package redis

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
	"sightglass/shared/keys"
	"sightglass/shared/redisurl"
	"sightglass/shared/snapshot"
)

// shipped is where the files for operators are.
var shipped = filepath.Join("..", "..", "..", "redis")

// settings joins files of infra/redis, as their includes do, and takes out the paths of a machine of its own.
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
	if err := os.Rename(file+".new", file); err != nil { // at once, as whoever reads it meanwhile must find all of it
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

// makeUsers gives a directory with users.acl and the users' passwords.
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

// A journal is what the daemons log.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
	also io.Writer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(b)
	return j.also.Write(b)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}

func newJournal(t *testing.T) (*journal, *slog.Logger) {
	j := &journal{also: t.Output()}
	return j, slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// startIngester replays the block to an ingester until the test ends.
func startIngester(t *testing.T, set func(*ingester.Options)) (internal string, log *journal) {
	t.Helper()
	log, logger := newJournal(t)
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	node, err := replay.New(replay.Options{Endpoint: "tcp://127.0.0.1:*", Rate: 2000, Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	o := ingester.Defaults()
	o.ZMQ, o.InternalListen, o.Log = []string{node.Endpoint()}, programs.FreeAddr(t), logger
	set(&o)
	in, err := ingester.New(o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, in.Run, func(ctx context.Context) error { return node.Run(ctx, file.Transactions) })
	return o.InternalListen, log
}

// startEdge runs an edge until the test ends.
func startEdge(t *testing.T, set func(*edge.Options)) (*edge.Edge, *journal) {
	t.Helper()
	log, logger := newJournal(t)
	o := edge.Defaults()
	o.Listen, o.HandshakesPerMinute, o.Log = "127.0.0.1:0", 1_000_000, logger
	o.DrainDelay, o.DrainWindow = 0, 0 // no balancer looks at it
	set(&o)
	e, err := edge.New(o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, e.Run)
	return e, log
}

// run runs daemons until the test ends. None of them may fail.
func run(t *testing.T, runs ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range runs {
		g.Go(func() error { return f(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// A viewer is a client that checks what every client may expect.
type viewer struct {
	conn *websocket.Conn
	last *snapshot.Snapshot
}

// view connects a client and waits for a live price of the whole block.
func view(t *testing.T, addr string) *viewer {
	t.Helper()
	var v *viewer
	programs.Until(t, "a client to be let in", func() bool {
		conn, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/ws/mempool", nil)
		if err != nil {
			return false
		}
		conn.SetReadLimit(1 << 20)
		t.Cleanup(func() { conn.CloseNow() })
		v = &viewer{conn: conn}
		return true
	})
	v.until(t, "the price", func(s *snapshot.Snapshot) bool {
		return s.Status == snapshot.Live && s.Stats.TotalReceived == 3315
	})
	return v
}

// until reads on until a snapshot is as wanted. Each must be newer than the one before.
func (v *viewer) until(t *testing.T, what string, met func(*snapshot.Snapshot) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		_, data, err := v.conn.Read(ctx)
		if err != nil {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		s, err := snapshot.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if s.Status != snapshot.Stale && v.last != nil && !s.NewerThan(v.last) {
			t.Fatalf("epoch %s seq %d came after epoch %s seq %d", s.Epoch, s.Seq, v.last.Epoch, v.last.Seq)
		}
		v.last = s
		if met(s) {
			return
		}
	}
}

// goesOn waits for n live snapshots that were made from now on.
func (v *viewer) goesOn(t *testing.T, n int) {
	t.Helper()
	from := float64(time.Now().UnixMilli()) / 1000
	v.until(t, "the next snapshots", func(s *snapshot.Snapshot) bool {
		if s.Status == snapshot.Live && s.Timestamp > from {
			n--
		}
		return n <= 0
	})
}

// keepState writes the engine's state as an ingester does, which comes to that within the second minute only.
func keepState(t *testing.T, o ingester.Options) {
	t.Helper()
	client, err := redisurl.Open(o.Redis, redisurl.Options{PasswordFile: o.RedisPasswordFile})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Set(t.Context(), keys.Engine, "", 0).Err(); err != nil {
		t.Error(err)
	}
	if err := client.Get(t.Context(), keys.Engine).Err(); err != nil {
		t.Error(err)
	}
}

// historyOf is the number of points that an edge serves.
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

// metric is what a daemon's internal listener says.
func metric(t *testing.T, internal, name string) float64 {
	t.Helper()
	answer, err := http.Get("http://" + internal + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// join connects a client from an address of the loopback network; false: its address holds all that it may.
func join(t *testing.T, e *edge.Edge, from int) (*websocket.Conn, bool) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(from))}}
	conn, _, err := websocket.Dial(t.Context(), "ws://"+e.Addr().String()+"/ws/mempool", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	_, _, err = conn.Read(t.Context())
	if code := websocket.CloseStatus(err); err != nil && code != 4029 {
		t.Fatal(err)
	}
	return conn, err == nil
}

// expectTenOnAll: an address has ten places on all edges together.
func expectTenOnAll(t *testing.T, from int, edges ...*edge.Edge) {
	t.Helper()
	for i := range 10 {
		if _, ok := join(t, edges[i%len(edges)], from); !ok {
			t.Fatalf("client %d was turned away", i+1)
		}
	}
	for i, e := range edges {
		// An edge that Redis does not answer in 200 ms counts alone for a moment.
		programs.Until(t, fmt.Sprintf("edge %d to turn the eleventh away", i), func() bool {
			conn, ok := join(t, e, from)
			conn.CloseNow()
			return !ok
		})
	}
}
