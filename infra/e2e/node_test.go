package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"sightglass/infra/internal/programs"
	"sightglass/infra/internal/redistest"
	"sightglass/ingester"
	"sightglass/ingester/node"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
	"sightglass/shared/keys"
	"sightglass/shared/snapshot"
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

// TestTheIngesterNextToARealNode plays a real bitcoind's life to a whole ingester: blocks, a replacement, a
// reorganisation, a restart. Whenever the node was asked for its mempool, the ingester's is the same.
func TestTheIngesterNextToARealNode(t *testing.T) {
	theirs, lines := recorded(t)
	redis := redistest.Start(t)
	o := ingester.Defaults()
	o.ZMQ, o.RPC, o.RPCUser, o.RPCPassword = []string{theirs.Endpoint()}, theirs.RPCURL(), "user", "password"
	o.Redis, o.InternalListen, o.Quiet, o.Log = redis.URL(), "127.0.0.1:0", time.Second, quiet(t)
	in, err := ingester.New(o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, in.Run)
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
	eventually(t, "every transaction of the life is counted", func(ctx context.Context) bool {
		data, err := redis.Client().Get(ctx, keys.Latest).Bytes()
		if err != nil {
			return false
		}
		s, err := snapshot.Decode(data)
		return err == nil && int(s.Stats.TotalReceived) >= len(bodies)-replaced
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
	eventually(t, fmt.Sprintf("the mempool at %v s is the node's, %d transactions", at, len(want)), func(ctx context.Context) bool {
		var got struct {
			TxIDs    []string `json:"txids"`
			Sequence uint64   `json:"mempool_sequence"`
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+in.InternalAddr().String()+"/mempool", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		if json.NewDecoder(res.Body).Decode(&got) != nil {
			return false
		}
		slices.Sort(got.TxIDs)
		return slices.Equal(got.TxIDs, want) && got.Sequence == sequence
	})
}

// eventually tries until it holds.
func eventually(t *testing.T, what string, holds func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !holds(ctx) {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("not in 20 s: ", what)
		}
	}
}

func TestProbeTellsWhatIsRightAndWrong(t *testing.T) {
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
		"poor  zmqpubrawtx    the node keeps 1000 messages", "zmqpubhashblockhwm=10000", // the first of those that share the address
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

func step(t *testing.T, n *replay.Node, lines int) {
	t.Helper()
	for range lines {
		if _, _, err := n.Step(replay.Deliver); err != nil {
			t.Fatal(err)
		}
	}
}
