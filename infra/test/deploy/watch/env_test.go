//go:build deploy

// Package watch runs a real Prometheus with our rules, and our real programs. The metrics of the board, the alerts and
// the docs must exist, and no alert may fire while all programs work.
package watch

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9/logging"
	"golang.org/x/sync/errgroup"

	"sightglass/infra/test/internal/daemons"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/infra/test/internal/wstest"
	"sightglass/ingester/node"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
	"sightglass/ingester/txfile"
)

// TestMain disables go-redis's log, which reports failed dials to a Redis that is starting.
func TestMain(m *testing.M) {
	logging.Disable()
	os.Exit(m.Run())
}

// The jobs that the alerts and the board select.
const (
	jobIngester = "sightglass-ingester"
	jobEdge     = "sightglass-edge"
)

// A program is one of our running programs.
type program struct {
	*programs.Process
	job, internal string // internal: host and port of its metrics
	log           string // a file
}

// An environment is a node, two ingesters, an edge with clients, and a Prometheus that scrapes them.
type environment struct {
	ingesters  []program
	edge       program
	prometheus server
}

func (env *environment) programs() []program { return append([]program{env.edge}, env.ingesters...) }

func start(t *testing.T) *environment {
	t.Helper()
	for _, name := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%v: `make test-deploy` installs it", err)
		}
	}
	redis, node := redistest.Start(t), startNode(t)
	env := &environment{}
	ingester := programs.Build(t, "ingester", "ingester")
	for range 2 { // one is the leader, one is on standby
		env.ingesters = append(env.ingesters, launch(t, jobIngester, ingester, "run", "--zmq", node.Endpoint(), "--rpc", node.RPCURL(),
			"--rpc-user", "user", "--rpc-password", secret, "--redis", redis.URL()))
	}
	addr := programs.FreeAddr(t)
	env.edge = launch(t, jobEdge, programs.Build(t, "edge", "edge"), "run", "--listen", addr, "--redis", redis.URL(),
		"--limit-scope", "cluster", "--allowed-origins", "https://example.org")
	programs.Until(t, "the edge to be ready", func() bool { return programs.Ready(addr) })
	connectClients(t, addr)
	env.prometheus = env.startPrometheus(t)
	return env
}

// secret must not be in any log.
const secret = "hunter2"

// launch starts one of our programs with metrics and a JSON log with a summary each second.
func launch(t *testing.T, job, binary string, args ...string) program {
	t.Helper()
	p := program{job: job, internal: programs.FreeAddr(t), log: filepath.Join(t.TempDir(), "log")}
	args = append(args, "--internal-listen", p.internal, "--log-format", "json", "--log-level", "debug", "--log-summary", "1s")
	p.Process = programs.Launch(t, "/bin/sh", append([]string{"-c", `log=$1; shift; exec "$@" 2>"$log"`, "sh", p.log, binary}, args...)...)
	return p
}

// startNode runs a node until the test ends: it publishes most of a block at once, and the rest in real time.
func startNode(t *testing.T) *replay.Node {
	t.Helper()
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	const atOnce, perSecond = 3000, 5
	var lines []transcript.Line
	for i, tx := range file.Transactions[1:] { // without the coinbase
		var body bytes.Buffer
		if err := tx.Serialize(&body); err != nil {
			t.Fatal(err)
		}
		at := float64(max(0, i-atOnce)) / perSecond
		change, err := hex.DecodeString(tx.TxHash().String())
		if err != nil {
			t.Fatal(err)
		}
		change = binary.LittleEndian.AppendUint64(append(change, 'A'), uint64(i+1))
		lines = append(lines,
			transcript.Line{T: at, Topic: node.TopicRawTx, Body: body.Bytes(), Counter: uint32(i)},
			transcript.Line{T: at, Topic: node.TopicSequence, Body: change, Counter: uint32(i)})
	}
	n, err := replay.NewNode(replay.NodeOptions{
		Endpoint: "tcp://127.0.0.1:*", RPCListen: "127.0.0.1:0", Speed: 1, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}, lines)
	if err != nil {
		t.Fatal(err)
	}
	daemons.Run(t, n.Run)
	return n
}

// connectClients connects clients: some stay, one leaves, one is rejected, some request pages.
func connectClients(t *testing.T, addr string) {
	t.Helper()
	for _, o := range []websocket.DialOptions{
		{}, {CompressionMode: websocket.CompressionContextTakeover}, {Subprotocols: []string{"sightglass.delta.v1"}},
	} {
		stay(t, addr, o)
	}
	leaver := wstest.MustDial(t, wstest.URL(addr), nil, websocket.DialOptions{})
	if err := leaver.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	foreign := websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://example.com"}}}
	if _, answer, err := wstest.Dial(t, wstest.URL(addr), nil, foreign); err == nil || answer.StatusCode != http.StatusForbidden {
		t.Fatalf("another origin: got %v, %v, want 403", answer, err)
	}
	for _, path := range []string{"/", "/api/v1/history", "/absent"} {
		fetch(t, "http://"+addr+path)
	}
}

// stay connects a client that reads until the test ends.
func stay(t *testing.T, addr string, o websocket.DialOptions) {
	t.Helper()
	conn := wstest.MustDial(t, wstest.URL(addr), nil, o)
	var g errgroup.Group
	g.Go(func() error {
		for {
			if _, _, err := conn.Read(context.Background()); err != nil {
				return nil //nolint:nilerr // the connection was closed
			}
		}
	})
	t.Cleanup(func() {
		conn.CloseNow()
		g.Wait() //nolint:errcheck // no goroutine returns an error
	})
}

func fetch(t testing.TB, url string) (body string) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// startPrometheus starts a Prometheus with our rules and a tenth of our intervals.
func (env *environment) startPrometheus(t *testing.T) server {
	t.Helper()
	var config strings.Builder
	fmt.Fprintf(&config, "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\nrule_files: [%q]\nscrape_configs:\n",
		repo(t, "infra/prometheus/alerts.yml"))
	for _, p := range env.programs() {
		fmt.Fprintf(&config, "  - {job_name: %s-%s, static_configs: [{targets: [%q]}], relabel_configs: [{target_label: job, replacement: %s}]}\n",
			p.job, p.internal[strings.LastIndex(p.internal, ":")+1:], p.internal, p.job)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := programs.FreeAddr(t)
	programs.Launch(t, "prometheus", "--config.file", file, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", addr)
	s := server("http://" + addr)
	programs.Until(t, "prometheus to be ready", func() bool {
		_, err := programs.Get(string(s) + "/-/ready")
		return err == nil
	})
	programs.Until(t, "prometheus to read all metrics", func() bool { return len(s.query(t, "up == 1")) == len(env.programs()) })
	return s
}

// repo returns the path of a file of this repository.
func repo(t testing.TB, path string) string {
	t.Helper()
	full, err := filepath.Abs(filepath.Join("../../../..", path))
	if err != nil {
		t.Fatal(err)
	}
	return full
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(repo(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestMonitoring_MatchesPrograms shares one environment, as its start takes longer than the checks.
func TestMonitoring_MatchesPrograms(t *testing.T) {
	env := start(t)
	t.Run("metrics", func(t *testing.T) { testMetrics(t, env) })
	t.Run("board", func(t *testing.T) { testBoard(t, env) })
	t.Run("alerts", func(t *testing.T) { testAlerts(t, env) }) // ends the ingesters
	t.Run("logs", func(t *testing.T) { testLogs(t, env) })     // ends the edge
}
