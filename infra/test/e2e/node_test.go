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

// recorded is a real bitcoind that lives its recorded life again.
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

// TestIngester_MatchesMempoolOfRealNode plays a real bitcoind's life to a whole ingester: blocks, a replacement, a
// reorganisation, a restart. Whenever the node was asked for its mempool, the ingester's is the same.
func TestIngester_MatchesMempoolOfRealNode(t *testing.T) {
	theirs, lines := recorded(t)
	redis := redistest.Start(t)
	o := ingester.Defaults()
	o.ZMQ, o.RPC, o.RPCUser, o.RPCPassword = []string{theirs.Endpoint()}, theirs.RPCURL(), "user", "password"
	o.Redis, o.InternalListen, o.ZMQIdleTimeout, o.Log = redis.URL(), "127.0.0.1:0", time.Second, quiet(t)
	in, err := ingester.New(o)
	if err != nil {
		t.Fatal(err)
	}
	daemons.Run(t, in.Run)
	if err := theirs.AwaitSubscriber(t.Context(), node.TopicSequence); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for {
		line, ok, err := theirs.Step(replay.Deliver)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if line.Method == "getrawmempool" && string(line.Params) != "[true]" {
			awaitMempool(t, in, theirs, line.T)
			compared++
		}
	}
	if compared != 5 {
		t.Errorf("compared at %d moments, want 5", compared)
	}
	bodies := make(map[string]bool)
	for _, line := range lines {
		if line.Topic == node.TopicRawTx {
			bodies[string(line.Body)] = true
		}
	}
	const replaced = 1 // it may be gone before it is asked for, if the ingester is still waiting for its first answer
	programs.Until(t, "every transaction of the life is counted", func() bool {
		s := redis.Snapshot()
		return s != nil && int(s.Stats.TotalReceived) >= len(bodies)-replaced
	})
}

func awaitMempool(t *testing.T, in *ingester.Ingester, theirs *replay.Node, at float64) {
	t.Helper()
	ids, sequence := theirs.Mempool()
	var want []string
	for _, id := range ids {
		want = append(want, id.String())
	}
	slices.Sort(want)
	programs.Until(t, fmt.Sprintf("the mempool at %v s is the node's, %d transactions", at, len(want)), func() bool {
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
	theirs, _ := recorded(t)
	redis := redistest.Start(t)
	step(t, theirs, 460) // to where the node is asked what it publishes
	program := programs.Build(t, "ingester", "ingester")
	probe := func(args ...string) (string, error) {
		out, err := exec.Command(program, append([]string{"checkconfig", "--probe"}, args...)...).CombinedOutput()
		return string(out), err
	}
	all := []string{"--zmq", theirs.Endpoint(), "--redis", redis.URL(), "--rpc", theirs.RPCURL(), "--rpc-user", "u", "--rpc-password", "p"}

	out, err := probe(all...)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"good  redis", "good  rpc            /Satoshi:28.1.0", "good  zmq", "poor  chain          regtest",
		"poor  zmqpubrawtx    bitcoind queues 1000 messages", "zmqpubhashblockhwm=100000", // the first of those that share the address
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}

	out, err = probe("--zmq", "tcp://127.0.0.1:1", "--redis", "redis://127.0.0.1:1", "--rpc", "http://127.0.0.1:1", "--rpc-user", "u", "--rpc-password", "secret")
	if err == nil || strings.Contains(out, "secret") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{"bad   redis", "bad   rpc", "bad   zmq", "3 of 3 are bad"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

// probing gives what the real program's probe says of endpoints and an RPC, beside a Redis.
func probing(t *testing.T, redis *redistest.Server) func(zmq, rpc string) (string, error) {
	t.Helper()
	program := programs.Build(t, "ingester", "ingester")
	return func(zmq, rpc string) (string, error) {
		out, err := exec.Command(program, "checkconfig", "--probe", "--redis", redis.URL(), "--zmq", zmq,
			"--rpc", rpc, "--rpc-user", "sightglass", "--rpc-password", "secret").CombinedOutput()
		return string(out), err
	}
}

// proxy passes calls on to the node, but for what twist deals with.
func proxy(t *testing.T, theirs *replay.Node, twist func(w http.ResponseWriter, body []byte) bool) string {
	t.Helper()
	to, err := url.Parse(theirs.RPCURL())
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(to)
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

// answering is a proxy that gives a result of its own to one method.
func answering(t *testing.T, theirs *replay.Node, method, result string) string {
	t.Helper()
	return proxy(t, theirs, func(w http.ResponseWriter, body []byte) bool {
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

func mustSay(t *testing.T, out string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

// TestProbe_Whitelist: a whitelist as bitcoind has it, without a method that only the running ingester calls.
func TestProbe_Whitelist(t *testing.T) {
	theirs, _ := recorded(t)
	redis := redistest.Start(t)
	step(t, theirs, 460)
	probe := probing(t, redis)
	rpc := proxy(t, theirs, func(w http.ResponseWriter, body []byte) bool {
		refused := bytes.Contains(body, []byte(`"getmempoolentry"`))
		if refused {
			w.WriteHeader(http.StatusForbidden)
		}
		return refused
	})
	out, err := probe(theirs.Endpoint(), rpc)
	if err == nil {
		t.Error("the probe is content")
	}
	mustSay(t, out, "bad   rpcwhitelist   bitcoind forbids getmempoolentry (HTTP 403)", "rpcwhitelist="+bitcoind.Whitelist("sightglass"),
		"good  rpc            /Satoshi:28.1.0")

	out, err = probe(theirs.Endpoint(), proxy(t, theirs, func(w http.ResponseWriter, _ []byte) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	}))
	if err == nil {
		t.Error("the probe is content")
	}
	mustSay(t, out, "bad   rpc            bitcoind forbids every call (HTTP 403): its rpcallowip=", "rpcwhitelist="+bitcoind.Whitelist("sightglass"))

	out, err = probe(theirs.Endpoint(), theirs.RPCURL())
	if err != nil {
		t.Error(err)
	}
	mustSay(t, out, "good  rpcwhitelist")
}

// TestProbe_BlocksOnly: getnetworkinfo's localrelay.
func TestProbe_BlocksOnly(t *testing.T) {
	theirs, _ := recorded(t)
	redis := redistest.Start(t)
	step(t, theirs, 460)
	rpc := answering(t, theirs, "getnetworkinfo", `{"subversion":"/Satoshi:28.1.0/","localrelay":false}`)
	out, err := probing(t, redis)(theirs.Endpoint(), rpc)
	if err == nil {
		t.Error("the probe is content")
	}
	mustSay(t, out, "bad   blocksonly", "remove blocksonly=1 from bitcoin.conf")
}

// TestProbe_WrongPorts: the mistakes that people make with the two ports of a node.
func TestProbe_WrongPorts(t *testing.T) {
	theirs, _ := recorded(t)
	redis := redistest.Start(t)
	step(t, theirs, 460)
	probe := probing(t, redis)
	out, err := probe(theirs.Endpoint(), strings.Replace(theirs.Endpoint(), "tcp", "http", 1))
	if err == nil {
		t.Error("the probe is content")
	}
	mustSay(t, out, "bad   rpc", "a ZMQ socket answers at this port; is --rpc the RPC port", "good  zmq")

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // the kernel accepts, and nobody answers
	out, err = probe(theirs.Endpoint(), "http://"+silent.Addr().String())
	if err == nil {
		t.Error("the probe is content")
	}
	mustSay(t, out, "bad   rpc", "is bitcoind running with server=1, and is --rpc right?")

	out, err = probe(strings.Replace(theirs.RPCURL(), "http", "tcp", 1), theirs.RPCURL())
	if err == nil {
		t.Error("the probe is content")
	}
	mustSay(t, out, "bad   zmq", strings.TrimPrefix(theirs.RPCURL(), "http://")+" (connects, but does not speak ZMQ")

	out, err = probe("tcp://::1:28332", theirs.RPCURL())
	if err == nil {
		t.Error("the probe is content")
	}
	mustSay(t, out, "write tcp://[::1]:28332")
}

// TestProbe_MappedPort: the node names another port than the one that leads to it.
func TestProbe_MappedPort(t *testing.T) {
	theirs, _ := recorded(t)
	redis := redistest.Start(t)
	step(t, theirs, 460)
	probe := probing(t, redis)
	rpc := answering(t, theirs, "getzmqnotifications", `[{"type":"pubrawtx","address":"tcp://0.0.0.0:1","hwm":100000},{"type":"pubsequence","address":"tcp://0.0.0.0:1","hwm":100000}]`)
	type answer struct {
		out string
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		out, err := probe(theirs.Endpoint(), rpc)
		answers <- answer{out, err}
	}()
	if err := theirs.AwaitSubscriber(t.Context(), node.TopicSequence); err != nil {
		t.Fatal(err)
	}
	step(t, theirs, 40)
	heard := <-answers
	if heard.err != nil {
		t.Error(heard.err)
	}
	mustSay(t, heard.out, "good  zmq", "good  zmqpubrawtx    received", "good  zmqpubsequence received", "a mapped one, as with docker -p or ssh -L")

	out, err := probe(theirs.Endpoint(), rpc)
	if err != nil {
		t.Errorf("a quiet node behind a mapped port: %v", err)
	}
	mustSay(t, out, "good  zmq", "poor  zmqpubrawtx", "poor  zmqpubsequence", "unless the port is mapped")
}

// TestDocs_WhitelistMatchesProbe: the whitelist in docs/node.md is the one that the probe asks for, and every high-water mark
// that the docs and the settings name is the one that it advises.
func TestDocs_WhitelistMatchesProbe(t *testing.T) {
	page, err := os.ReadFile("../../../docs/node.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := "rpcwhitelist=" + bitcoind.Whitelist("sightglass") + "\n"; !strings.Contains(string(page), want) {
		t.Errorf("docs/node.md has no line %s", want)
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
				t.Errorf("%s: %s, and the probe advises %d", page, mark[0], zmqsub.HighWater)
			}
		}
	}
	if marks == 0 {
		t.Error("no page names a high-water mark")
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
