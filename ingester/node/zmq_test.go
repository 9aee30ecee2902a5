package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sightglass/ingester/node"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
	"sightglass/shared/logtest"
)

func transactions(t testing.TB) []*wire.MsgTx {
	t.Helper()
	f, err := txfile.Read(testblock.Path(t, testblock.Block540107), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f.Transactions
}

func publisher(t testing.TB, rate float64, loop bool) *replay.Publisher {
	t.Helper()
	p, err := replay.New(replay.Options{
		Endpoint: "tcp://127.0.0.1:*", Rate: rate, Loop: loop, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// listen runs a node without RPC until the test ends.
func listen(t *testing.T, endpoint string, log io.Writer) (<-chan node.Event, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	n, err := node.New(node.Options{
		ZMQ: []string{endpoint}, Window: 3 * time.Hour, Log: slog.New(slog.NewTextHandler(log, nil)),
	}, node.NewMetrics(reg))
	if err != nil {
		t.Fatal(err)
	}
	events, ended := make(chan node.Event), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- n.Run(ctx, events) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return events, reg
}

func next(t *testing.T, events <-chan node.Event) node.Event {
	t.Helper()
	select {
	case ev := <-events:
		return ev
	case <-time.After(20 * time.Second):
		t.Fatal("got no event for 20 s")
		panic("unreachable")
	}
}

func TestNode_DeliversTransactionsInOrder(t *testing.T) {
	txs, p := transactions(t), publisher(t, 2000, false)
	events, _ := listen(t, p.Endpoint(), io.Discard)
	done := make(chan error, 1)
	go func() { done <- p.Run(t.Context(), txs) }()
	for i, tx := range txs {
		ev := next(t, events)
		if ev.Kind != node.Seen || ev.ID != tx.TxHash() || ev.Tx.TxHash() != ev.ID || ev.At.IsZero() || ev.Received != ev.At {
			t.Fatalf("got event %d as %+v, want transaction %v", i, ev, tx.TxHash())
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPublisher_LoopNeverRepeatsTxid(t *testing.T) {
	txs, p := transactions(t)[:50], publisher(t, 5000, true)
	events, _ := listen(t, p.Endpoint(), io.Discard)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, txs) }()
	seen := make(map[string]bool)
	for range 3 * len(txs) {
		seen[next(t, events).ID.String()] = true
	}
	if len(seen) != 3*len(txs) {
		t.Errorf("got %d txids in three laps of %d transactions, want three times as many", len(seen), len(txs))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestNode_SkipsMalformedMessages sends malformed messages between two valid transactions.
func TestNode_SkipsMalformedMessages(t *testing.T) {
	p := publisher(t, 1000, false)
	defer p.Close()
	var log bytes.Buffer
	events, reg := listen(t, p.Endpoint(), &log)
	txs := transactions(t)
	send := func(tx *wire.MsgTx) {
		var body bytes.Buffer
		if err := tx.Serialize(&body); err != nil {
			t.Fatal(err)
		}
		if err := p.Send("rawtx", body.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.AwaitSubscriber(t.Context(), "sequence"); err != nil { // the second of the two topics
		t.Fatal(err)
	}
	send(txs[1])
	counter := []byte{1, 0, 0, 0}
	for _, frames := range [][][]byte{
		{[]byte("rawtx")},
		{[]byte("rawtx"), []byte("x"), counter, []byte("y")},
		{[]byte("rawtx"), []byte("no transaction"), counter},
		{[]byte("rawtxx"), nil, counter},
		{[]byte("rawtx"), nil, []byte("12345")},
		{[]byte("sequence"), []byte("short"), counter},
	} {
		if err := p.SendFrames(frames...); err != nil {
			t.Fatal(err)
		}
	}
	send(txs[2])
	for _, want := range txs[1:3] {
		if ev := next(t, events); ev.ID != want.TxHash() {
			t.Errorf("got %v, want %v", ev.ID, want.TxHash())
		}
	}
	want := `
# HELP sightglass_node_bad_messages_total Malformed messages from the node, by what is wrong with them.
# TYPE sightglass_node_bad_messages_total counter
sightglass_node_bad_messages_total{reason="counter"} 1
sightglass_node_bad_messages_total{reason="frames"} 2
sightglass_node_bad_messages_total{reason="sequence"} 1
sightglass_node_bad_messages_total{reason="topic"} 1
sightglass_node_bad_messages_total{reason="transaction"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "sightglass_node_bad_messages_total"); err != nil {
		t.Error(err)
	}
}

// TestNode_SkipsHostileTransactions sends bytes that make btcd panic, or allocate 100 MB, before a good transaction.
func TestNode_SkipsHostileTransactions(t *testing.T) {
	p := publisher(t, 1000, false)
	defer p.Close()
	var log logtest.Log
	events, reg := listen(t, p.Endpoint(), &log)
	if err := p.AwaitSubscriber(t.Context(), "sequence"); err != nil { // the second of the two topics
		t.Fatal(err)
	}
	hostile := testblock.Hostile()
	for name, raw := range hostile {
		if err := p.Send("rawtx", raw); err != nil {
			t.Fatalf("%s: got %v, want it sent", name, err)
		}
	}
	good := transactions(t)[1]
	var body bytes.Buffer
	if err := errors.Join(good.Serialize(&body), p.Send("rawtx", body.Bytes())); err != nil {
		t.Fatal(err)
	}
	if ev := next(t, events); ev.ID != good.TxHash() {
		t.Errorf("got %v, want %v", ev.ID, good.TxHash())
	}
	want := fmt.Sprintf(`
# HELP sightglass_node_bad_messages_total Malformed messages from the node, by what is wrong with them.
# TYPE sightglass_node_bad_messages_total counter
sightglass_node_bad_messages_total{reason="counter"} 0
sightglass_node_bad_messages_total{reason="frames"} 0
sightglass_node_bad_messages_total{reason="sequence"} 0
sightglass_node_bad_messages_total{reason="topic"} 0
sightglass_node_bad_messages_total{reason="transaction"} %d
`, len(hostile))
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "sightglass_node_bad_messages_total"); err != nil {
		t.Error(err)
	}
	if log.Count("skipped a malformed message") == 0 || log.Count("expected ") == 0 {
		t.Error("got no log line about a malformed message with what was expected, want one")
	}
}
