package node_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/node"
	"sightglass/ingester/replay"
	"sightglass/ingester/transcript"
	"sightglass/shared/logtest"
)

func TestPlaceOf_ComparesEndpoints(t *testing.T) {
	const ours, other, theirs = "tcp://127.0.0.1:28332", "tcp://127.0.0.1:28333", "tcp://0.0.0.0:28332"
	n := func(topic, address string) bitcoind.Notification {
		return bitcoind.Notification{Topic: topic, Address: address}
	}
	for name, c := range map[string]struct {
		published []bitcoind.Notification
		zmq       []string
		want      node.Place
		address   string
	}{
		"nothing published":          {nil, []string{ours}, node.Nowhere, ""},
		"another topic":              {[]bitcoind.Notification{n("hashblock", theirs)}, []string{ours}, node.Nowhere, ""},
		"by the port":                {[]bitcoind.Notification{n("rawtx", theirs)}, []string{ours}, node.Here, theirs},
		"at two, one is ours":        {[]bitcoind.Notification{n("rawtx", other), n("rawtx", theirs)}, []string{ours}, node.Here, theirs},
		"a mapped port":              {[]bitcoind.Notification{n("rawtx", theirs)}, []string{"tcp://node:38332"}, node.Unclear, theirs},
		"a socket, by tcp":           {[]bitcoind.Notification{n("rawtx", "ipc:///run/b.sock")}, []string{ours}, node.Unclear, "ipc:///run/b.sock"},
		"our port has another topic": {[]bitcoind.Notification{n("rawtx", other), n("sequence", theirs)}, []string{ours}, node.Elsewhere, other},
		"one of two is mapped":       {[]bitcoind.Notification{n("rawtx", other), n("sequence", theirs)}, []string{ours, "tcp://node:1"}, node.Unclear, other},
	} {
		t.Run(name, func(t *testing.T) {
			if place, address := node.PlaceOf("rawtx", c.published, c.zmq); place != c.want || address != c.address {
				t.Errorf("got %d %q, want %d %q", place, address, c.want, c.address)
			}
		})
	}
}

// watchAt watches a node at other endpoints than the one that it reports.
func watchAt(t *testing.T, lines []transcript.Line, endpoints func(theirs string) []string, log io.Writer) *watch {
	t.Helper()
	w := &watch{t: t, lines: lines, blocks: blocks{mined: make(map[chainhash.Hash]bool)}, held: make(map[chainhash.Hash]bool), reg: prometheus.NewRegistry()}
	logger := slog.New(slog.NewTextHandler(log, nil))
	var err error
	w.theirs, err = replay.NewNode(replay.NodeOptions{Endpoint: "tcp://127.0.0.1:*", RPCListen: "127.0.0.1:0", Log: logger}, lines)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.theirs.Close)
	rpc, err := bitcoind.New(bitcoind.Options{URL: w.theirs.RPCURL(), User: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	w.ours, err = node.New(node.Options{
		ZMQ: endpoints(w.theirs.Endpoint()), RPC: rpc, Window: 3 * time.Hour, IdleTimeout: quiet, Log: logger,
	}, node.NewMetrics(w.reg))
	if err != nil {
		t.Fatal(err)
	}
	w.run()
	return w
}

// forward forwards a port of its own to another address, as docker -p and ssh -L do.
func forward(t *testing.T, to string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", strings.TrimPrefix(to, "tcp://"))
			if err != nil {
				near.Close()
				continue
			}
			pass := func(from, to net.Conn) {
				_, _ = io.Copy(to, from)
				from.Close()
				to.Close()
			}
			go pass(near, far)
			go pass(far, near)
		}
	}()
	return "tcp://" + ln.Addr().String()
}

// TestNode_NoWarningForMappedPort: the node reports another port than the one in --zmq, and everything works.
func TestNode_NoWarningForMappedPort(t *testing.T) {
	var log logtest.Log
	w := watchAt(t, realLife(t), func(theirs string) []string { return []string{forward(t, theirs)} }, &log)
	w.playAll(none)
	w.awaitEvidence(true)
	for _, wrong := range []string{"does not publish", "is not in --zmq", "no messages of a topic"} {
		if log.Count(wrong) > 0 {
			t.Errorf("got %q in the log, want no warning", wrong)
		}
	}
}

// TestNode_ReportsEndpointThatIsDown: by a metric, and by Links.
func TestNode_ReportsEndpointThatIsDown(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "tcp://" + ln.Addr().String()
	ln.Close()
	var alive string
	w := watchAt(t, realLife(t), func(theirs string) []string { alive = theirs; return []string{theirs, dead} }, io.Discard)
	w.awaitSubscriber()
	w.eventually(func() string {
		links := w.ours.Links()
		gauges := "# HELP sightglass_node_endpoint_connected 1 while the connection to an endpoint of --zmq is up.\n" +
			"# TYPE sightglass_node_endpoint_connected gauge\n" +
			"sightglass_node_endpoint_connected{endpoint=\"" + alive + "\"} 1\n" +
			"sightglass_node_endpoint_connected{endpoint=\"" + dead + "\"} 0\n"
		if err := testutil.GatherAndCompare(w.reg, strings.NewReader(gauges), "sightglass_node_endpoint_connected"); err != nil {
			return err.Error()
		}
		if links[0].Error() != nil || links[1].Error() == nil || !strings.Contains(links[1].Error().Error(), dead) {
			return fmt.Sprintf("got links %+v, want the first up and the second down", links)
		}
		return ""
	})
}

// TestNode_WarnsOfBlocksOnly: the log says once what is wrong with a node that accepts no transactions from its peers.
func TestNode_WarnsOfBlocksOnly(t *testing.T) {
	lines := realLife(t)
	changed := false
	for i, line := range lines {
		if line.Method != "getnetworkinfo" {
			continue
		}
		var about map[string]any
		if err := json.Unmarshal(line.Result, &about); err != nil {
			t.Fatal(err)
		}
		changed = about["localrelay"] == true
		about["localrelay"] = false
		lines[i].Result, _ = json.Marshal(about)
	}
	if !changed {
		t.Fatal("got no localrelay in the recording")
	}
	var log logtest.Log
	w := newWatch(t, lines, true, &log)
	w.playAll(none)
	w.await(&log, "remove blocksonly=1 from bitcoin.conf")
	if n := log.Count("blocksonly"); n != 1 {
		t.Errorf("got %d warnings, want 1", n)
	}
	var other logtest.Log
	newWatch(t, realLife(t), true, &other).playAll(none)
	if n := other.Count("blocksonly"); n != 0 {
		t.Errorf("got %d warnings for a node that relays, want none", n)
	}
}
