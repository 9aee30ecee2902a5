package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sightglass/infra/test/internal/daemons"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
	"sightglass/ingester/bitcoind"
	"sightglass/ingester/node"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
	"sightglass/ingester/zmqsub"
)

// recorded replays the transcript of a real bitcoind.
func recorded(t *testing.T) (*replay.Node, []transcript.Line) {
	t.Helper()
	lines, err := transcript.ReadFiles(testblock.Data(t, "bitcoind/zmq.jsonl"), testblock.Data(t, "bitcoind/rpc.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := replay.NewNode(replay.NodeOptions{Endpoint: "tcp://127.0.0.1:*", RPCListen: "127.0.0.1:0", Log: quiet(t)}, lines)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n, lines
}

// TestIngester_MatchesMempoolOfRealNode replays a real bitcoind's transcript to a whole ingester: blocks, a
// replacement, a reorganisation, a restart. At each recorded mempool list the ingester's mempool is equal.
func TestIngester_MatchesMempoolOfRealNode(t *testing.T) {
	replayed, lines := recorded(t)
	redis := redistest.Start(t)
	o := ingester.Defaults()
	o.ZMQ, o.RPC, o.RPCUser, o.RPCPassword = []string{replayed.Endpoint()}, replayed.RPCURL(), "user", "password"
	o.Redis, o.InternalListen, o.ZMQIdleTimeout, o.Log = redis.URL(), "127.0.0.1:0", time.Second, quiet(t)
	in, err := ingester.New(o)
	if err != nil {
		t.Fatal(err)
	}
	daemons.Run(t, in.Run)
	if err := replayed.AwaitSubscriber(t.Context(), node.TopicSequence); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for {
		line, ok, err := replayed.Step(replay.Deliver)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if line.Method == "getrawmempool" && string(line.Params) != "[true]" {
			awaitMempool(t, in, replayed, line.T)
			compared++
		}
	}
	if compared != 5 {
		t.Errorf("got %d comparisons, want 5", compared)
	}
	bodies := make(map[string]bool)
	for _, line := range lines {
		if line.Topic == node.TopicRawTx {
			bodies[string(line.Body)] = true
		}
	}
	const replaced = 1 // it may be removed before it is fetched, if the ingester still waits for the first response
	programs.Until(t, "every transaction of the transcript to be counted", func() bool {
		s := redis.Snapshot()
		return s != nil && int(s.Stats.TotalReceived) >= len(bodies)-replaced
	})
}

func awaitMempool(t *testing.T, in *ingester.Ingester, replayed *replay.Node, at float64) {
	t.Helper()
	ids, sequence := replayed.Mempool()
	var want []string
	for _, id := range ids {
		want = append(want, id.String())
	}
	slices.Sort(want)
	programs.Until(t, fmt.Sprintf("the mempool at %v s to equal the node's, %d transactions", at, len(want)), func() bool {
		var got struct {
			TxIDs    []string `json:"txids"`
			Sequence uint64   `json:"mempool_sequence"`
		}
		body, err := programs.Get("http://" + in.InternalAddr().String() + "/mempool")
		if err != nil || json.Unmarshal(body, &got) != nil {
			return false
		}
		slices.Sort(got.TxIDs)
		return slices.Equal(got.TxIDs, want) && got.Sequence == sequence
	})
}

func TestProbe_Verdicts(t *testing.T) {
	replayed, _ := recorded(t)
	redis := redistest.Start(t)
	step(t, replayed, 460) // to the recorded getzmqnotifications
	program := programs.Build(t, "ingester", "ingester")
	probe := func(args ...string) (string, error) {
		out, err := exec.Command(program, append([]string{"checkconfig", "--probe"}, args...)...).CombinedOutput()
		return string(out), err
	}
	all := []string{"--zmq", replayed.Endpoint(), "--redis", redis.URL(), "--rpc", replayed.RPCURL(), "--rpc-user", "u", "--rpc-password", "p"}

	out, err := probe(all...)
	if err != nil {
		t.Errorf("got %v, want exit status 0:\n%s", err, out)
	}
	for _, want := range []string{
		"good  redis", "good  rpc            /Satoshi:28.1.0", "good  zmq", "poor  chain          regtest",
		"poor  zmqpubrawtx    bitcoind queues 1000 messages", "zmqpubhashblockhwm=100000", // the first topic that shares the address
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got output without %q:\n%s", want, out)
		}
	}

	out, err = probe("--zmq", "tcp://127.0.0.1:1", "--redis", "redis://127.0.0.1:1", "--rpc", "http://127.0.0.1:1", "--rpc-user", "u", "--rpc-password", "secret")
	if err == nil || strings.Contains(out, "secret") {
		t.Errorf("got %v, want an error and no password:\n%s", err, out)
	}
	for _, want := range []string{"bad   redis", "bad   rpc", "bad   zmq", "3 of 3 are bad"} {
		if !strings.Contains(out, want) {
			t.Errorf("got output without %q:\n%s", want, out)
		}
	}
}

// probing returns a function that runs the real program's probe on endpoints and an RPC, with a Redis.
func probing(t *testing.T, redis *redistest.Server) func(zmq, rpc string) (string, error) {
	t.Helper()
	program := programs.Build(t, "ingester", "ingester")
	return func(zmq, rpc string) (string, error) {
		out, err := exec.Command(program, "checkconfig", "--probe", "--redis", redis.URL(), "--zmq", zmq,
			"--rpc", rpc, "--rpc-user", "sightglass", "--rpc-password", "secret").CombinedOutput()
		return string(out), err
	}
}

// proxy forwards calls to the node, except those that twist answers.
func proxy(t *testing.T, replayed *replay.Node, twist func(w http.ResponseWriter, body []byte) bool) string {
	t.Helper()
	pass := forward(t, replayed.RPCURL())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !twist(w, body) {
			r.Body = io.NopCloser(bytes.NewReader(body))
			pass.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// forward returns a reverse proxy for a URL.
func forward(t *testing.T, to string) http.Handler {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return httputil.NewSingleHostReverseProxy(u)
}

// answering is a proxy that returns its own result for one method.
func answering(t *testing.T, replayed *replay.Node, method, result string) string {
	t.Helper()
	return proxy(t, replayed, func(w http.ResponseWriter, body []byte) bool {
		var call struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		if json.Unmarshal(body, &call) != nil || call.Method != method {
			return false
		}
		fmt.Fprintf(w, `{"result":%s,"error":null,"id":%s}`, result, call.ID)
		return true
	})
}

func expectOutput(t *testing.T, out string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(out, want) {
			t.Errorf("got output without %q:\n%s", want, out)
		}
	}
}

// TestProbe_Whitelist: bitcoind's whitelist omits a method that only the running ingester calls.
func TestProbe_Whitelist(t *testing.T) {
	replayed, _ := recorded(t)
	redis := redistest.Start(t)
	step(t, replayed, 460)
	probe := probing(t, redis)
	rpc := proxy(t, replayed, func(w http.ResponseWriter, body []byte) bool {
		forbidden := bytes.Contains(body, []byte(`"getmempoolentry"`))
		if forbidden {
			w.WriteHeader(http.StatusForbidden)
		}
		return forbidden
	})
	out, err := probe(replayed.Endpoint(), rpc)
	if err == nil {
		t.Error("got exit status 0, want an error")
	}
	expectOutput(t, out, "bad   rpcwhitelist   bitcoind forbids getmempoolentry (HTTP 403)", "rpcwhitelist="+bitcoind.Whitelist("sightglass"),
		"good  rpc            /Satoshi:28.1.0")

	out, err = probe(replayed.Endpoint(), proxy(t, replayed, func(w http.ResponseWriter, _ []byte) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	}))
	if err == nil {
		t.Error("got exit status 0, want an error")
	}
	expectOutput(t, out, "bad   rpc            bitcoind forbids every call (HTTP 403): its rpcallowip=", "rpcwhitelist="+bitcoind.Whitelist("sightglass"))

	out, err = probe(replayed.Endpoint(), replayed.RPCURL())
	if err != nil {
		t.Error(err)
	}
	expectOutput(t, out, "good  rpcwhitelist")
}

// TestProbe_BlocksOnly: getnetworkinfo's localrelay.
func TestProbe_BlocksOnly(t *testing.T) {
	replayed, _ := recorded(t)
	redis := redistest.Start(t)
	step(t, replayed, 460)
	rpc := answering(t, replayed, "getnetworkinfo", `{"subversion":"/Satoshi:28.1.0/","localrelay":false}`)
	out, err := probing(t, redis)(replayed.Endpoint(), rpc)
	if err == nil {
		t.Error("got exit status 0, want an error")
	}
	expectOutput(t, out, "bad   blocksonly", "remove blocksonly=1 from bitcoin.conf")
}

// TestProbe_WrongPorts: common mistakes with the two ports of a node.
func TestProbe_WrongPorts(t *testing.T) {
	replayed, _ := recorded(t)
	redis := redistest.Start(t)
	step(t, replayed, 460)
	probe := probing(t, redis)
	out, err := probe(replayed.Endpoint(), strings.Replace(replayed.Endpoint(), "tcp", "http", 1))
	if err == nil {
		t.Error("got exit status 0, want an error")
	}
	expectOutput(t, out, "bad   rpc", "this port is a ZMQ socket; is --rpc the RPC port", "good  zmq")

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // the kernel accepts, and no program answers
	out, err = probe(replayed.Endpoint(), "http://"+silent.Addr().String())
	if err == nil {
		t.Error("got exit status 0, want an error")
	}
	expectOutput(t, out, "bad   rpc", "is bitcoind running with server=1, and is --rpc right?")

	out, err = probe(strings.Replace(replayed.RPCURL(), "http", "tcp", 1), replayed.RPCURL())
	if err == nil {
		t.Error("got exit status 0, want an error")
	}
	expectOutput(t, out, "bad   zmq", strings.TrimPrefix(replayed.RPCURL(), "http://")+" (connects, but does not speak ZMQ")

	out, err = probe("tcp://::1:28332", replayed.RPCURL())
	if err == nil {
		t.Error("got exit status 0, want an error")
	}
	expectOutput(t, out, "write tcp://[::1]:28332")
}

// TestProbe_MappedPort: the node reports another port than the mapped one.
func TestProbe_MappedPort(t *testing.T) {
	replayed, _ := recorded(t)
	redis := redistest.Start(t)
	step(t, replayed, 460)
	probe := probing(t, redis)
	rpc := answering(t, replayed, "getzmqnotifications", `[{"type":"pubrawtx","address":"tcp://0.0.0.0:1","hwm":100000},{"type":"pubsequence","address":"tcp://0.0.0.0:1","hwm":100000}]`)
	type answer struct {
		out string
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		out, err := probe(replayed.Endpoint(), rpc)
		answers <- answer{out, err}
	}()
	if err := replayed.AwaitSubscriber(t.Context(), node.TopicSequence); err != nil {
		t.Fatal(err)
	}
	step(t, replayed, 40)
	result := <-answers
	if result.err != nil {
		t.Error(result.err)
	}
	expectOutput(t, result.out, "good  zmq", "good  zmqpubrawtx    received", "good  zmqpubsequence received", "a mapped one, as with docker -p or ssh -L")

	out, err := probe(replayed.Endpoint(), rpc)
	if err != nil {
		t.Errorf("an idle node behind a mapped port: got %v, want no error", err)
	}
	expectOutput(t, out, "good  zmq", "poor  zmqpubrawtx", "poor  zmqpubsequence", "unless the port is mapped")
}

// TestDocs_WhitelistMatchesProbe: docs/node.md has the whitelist that the probe requires, and every high-water mark in
// the docs and the settings is the one that the probe advises.
func TestDocs_WhitelistMatchesProbe(t *testing.T) {
	page, err := os.ReadFile("../../../docs/node.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := "rpcwhitelist=" + bitcoind.Whitelist("sightglass") + "\n"; !strings.Contains(string(page), want) {
		t.Errorf("got no line in docs/node.md, want %s", want)
	}
	pages, err := filepath.Glob("../../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	marks := 0
	for _, page := range append(pages, "../../../README.md", "../../../docker-compose.yml") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, mark := range regexp.MustCompile(`zmqpub\w+hwm=(\d+)`).FindAllStringSubmatch(string(text), -1) {
			marks++
			if mark[1] != fmt.Sprint(zmqsub.HighWater) {
				t.Errorf("%s: got %s, want the probe's %d", page, mark[0], zmqsub.HighWater)
			}
		}
	}
	if marks == 0 {
		t.Error("got no page with a high-water mark, want some")
	}
}

func step(t *testing.T, n *replay.Node, lines int) {
	t.Helper()
	for range lines {
		if _, _, err := n.Step(replay.Deliver); err != nil {
			t.Fatal(err)
		}
	}
}
