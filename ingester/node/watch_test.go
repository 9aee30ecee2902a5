package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/node"
	"sightglass/ingester/rawtx"
	"sightglass/ingester/replay"
	"sightglass/ingester/replay/simnode"
	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
)

// quiet is the idle timeout of these tests: only it reveals a lost last message.
const quiet = 250 * time.Millisecond

// A watch is a replayed bitcoind and the tracked view of it.
type watch struct {
	t      *testing.T
	lines  []transcript.Line
	theirs *replay.Node
	ours   *node.Node
	reg    *prometheus.Registry

	blocks
	mu   sync.Mutex
	held map[chainhash.Hash]bool // evidence: Seen and not Gone
}

// blocks collects the blocks' transactions from a recording.
type blocks struct {
	block []chainhash.Hash        // since the last coinbase
	mined map[chainhash.Hash]bool // false: and disconnected
}

// note adds a line.
func (b *blocks) note(t *testing.T, line transcript.Line) {
	t.Helper()
	switch line.Topic {
	case node.TopicRawTx:
		tx := transaction(t, line.Body)
		if tx.TxIn[0].PreviousOutPoint.Index == wire.MaxPrevOutIndex {
			b.block = nil
		}
		b.block = append(b.block, tx.TxHash())
	case node.TopicSequence:
		s, err := transcript.ParseSequence(line.Body)
		if err != nil {
			t.Fatal(err)
		}
		if s.Letter == transcript.Connected || s.Letter == transcript.Disconnected {
			for _, id := range b.block {
				b.mined[id] = s.Letter == transcript.Connected
			}
		}
	}
}

// evidence returns the transactions that must be evidence: in the mempool, or mined.
func (b *blocks) evidence(pooled []chainhash.Hash) map[chainhash.Hash]bool {
	want := maps.Clone(b.mined)
	for _, id := range pooled {
		want[id] = true
	}
	maps.DeleteFunc(want, func(_ chainhash.Hash, paid bool) bool { return !paid })
	return want
}

func newWatch(t *testing.T, lines []transcript.Line, withRPC bool, log io.Writer) *watch {
	t.Helper()
	return watchNode(t, lines, replay.NodeOptions{}, withRPC, log)
}

// newWatchAt starts the recording at a given time.
func newWatchAt(t *testing.T, lines []transcript.Line, start time.Time, log io.Writer) *watch {
	t.Helper()
	return watchNode(t, lines, replay.NodeOptions{Start: start}, true, log)
}

// watchNode watches a node; change may modify our options.
func watchNode(t *testing.T, lines []transcript.Line, o replay.NodeOptions, withRPC bool, log io.Writer, change ...func(*watch, *node.Options)) *watch {
	t.Helper()
	return watchThrough(t, func(rpcURL string) string { return rpcURL }, lines, o, withRPC, log, change...)
}

// watchThrough uses the RPC at the URL that proxy returns for the replayed node's.
func watchThrough(t *testing.T, proxy func(string) string, lines []transcript.Line, o replay.NodeOptions, withRPC bool, log io.Writer, change ...func(*watch, *node.Options)) *watch {
	t.Helper()
	w := &watch{t: t, lines: lines, blocks: blocks{mined: make(map[chainhash.Hash]bool)}, held: make(map[chainhash.Hash]bool), reg: prometheus.NewRegistry()}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.Endpoint, o.Log = "tcp://127.0.0.1:*", logger
	if withRPC {
		o.RPCListen = "127.0.0.1:0"
	}
	var err error
	if w.theirs, err = replay.NewNode(o, lines); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.theirs.Close)
	no := node.Options{ZMQ: w.theirs.Endpoints(), Window: 3 * time.Hour, IdleTimeout: quiet, Log: logger}
	if withRPC {
		if no.RPC, err = bitcoind.New(bitcoind.Options{URL: proxy(w.theirs.RPCURL()), User: "u", Password: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range change {
		c(w, &no)
	}
	if w.ours, err = node.New(no, node.NewMetrics(w.reg)); err != nil {
		t.Fatal(err)
	}
	w.run()
	return w
}

func (w *watch) run() {
	events, ended := make(chan node.Event, 64), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		ended <- w.ours.Run(ctx, events)
		close(events)
	}()
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for ev := range events {
			w.mu.Lock()
			w.held[ev.ID] = ev.Kind == node.Seen
			w.mu.Unlock()
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
		<-collected
	})
}

// fault returns the fault of the n-th line in transit.
type fault func(n int) (f replay.Fault, cut bool)

func none(int) (replay.Fault, bool) { return replay.Deliver, false }

// playAll plays the whole recording, and compares the mempools at each recorded response of the node.
func (w *watch) playAll(happens fault) {
	w.t.Helper()
	w.awaitSubscriber()
	for n := 0; ; { // a line of the recording; the replay inserts others, for restarts
		f, cut := happens(n)
		if f != replay.Deliver || cut {
			w.t.Log("line", n, "fault", f, "cut", cut)
		}
		if cut {
			if err := w.theirs.Cut(); err != nil {
				w.t.Fatal(err)
			}
		}
		line, ok := w.step(f)
		if !ok {
			return
		}
		if line.Method == "getrawmempool" && string(line.Params) != "[true]" {
			w.compare(fmt.Sprintf("line %d, t=%v", n, line.T))
		}
		if line.Method != replay.Restart {
			n++
		}
	}
}

// awaitSubscriber waits until the replayed node has its subscriber.
func (w *watch) awaitSubscriber() {
	w.t.Helper()
	if err := w.theirs.AwaitSubscriber(w.t.Context(), node.TopicSequence); err != nil {
		w.t.Fatal(err)
	}
}

// step plays a line, and tracks the blocks' transactions.
func (w *watch) step(f replay.Fault) (line transcript.Line, ok bool) {
	w.t.Helper()
	line, ok, err := w.theirs.Step(f)
	if err != nil {
		w.t.Fatal(err)
	}
	w.note(w.t, line)
	return line, ok
}

// eventually repeats try until it succeeds, or fails with its problem.
func (w *watch) eventually(try func() (problem string)) {
	w.t.Helper()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	giveUp := time.After(time.Minute) // the packages that are tested beside this one take both processors
	for {
		problem := try()
		if problem == "" {
			return
		}
		select {
		case <-again.C:
		case <-giveUp:
			w.t.Fatal(problem)
		}
	}
}

// compare waits until our mempool equals the node's own.
func (w *watch) compare(where string) {
	w.t.Helper()
	want, sequence := w.theirs.Mempool()
	w.eventually(func() string {
		got, err := w.ours.View(w.t.Context())
		if err != nil {
			return err.Error()
		}
		slices.SortFunc(got.IDs, func(a, b chainhash.Hash) int { return bytes.Compare(a[:], b[:]) })
		if slices.Equal(got.IDs, want) && got.Sequence == sequence {
			return ""
		}
		return fmt.Sprintf("%s: got %d transactions at %d in the mempool (in sync: %v), want the node's %d at %d\ngot  %v\nwant %v",
			where, len(got.IDs), got.Sequence, got.InSync, len(want), sequence, got.IDs, want)
	})
}

// awaitEvidence waits until the evidence equals the node's mempool and blocks.
func (w *watch) awaitEvidence(exact bool) {
	w.t.Helper()
	pooled, _ := w.theirs.Mempool()
	want := w.evidence(pooled)
	w.eventually(func() string {
		missing, surplus := w.difference(want)
		if len(missing) == 0 && (len(surplus) == 0 || !exact) {
			return ""
		}
		problem := "got no evidence, want some:"
		for _, id := range missing {
			problem += fmt.Sprintf("\n%v %v", id, story(w.t, w.lines, id))
		}
		problem += "\ngot evidence, want none:"
		for _, id := range surplus {
			problem += fmt.Sprintf("\n%v %v", id, story(w.t, w.lines, id))
		}
		return problem
	})
}

// story returns the recorded events of a transaction, for debugging.
func story(t *testing.T, lines []transcript.Line, id chainhash.Hash) (events []string) {
	t.Helper()
	for n, line := range lines {
		switch {
		case line.Topic == node.TopicRawTx && transaction(t, line.Body).TxHash() == id:
			events = append(events, fmt.Sprintf("%d: rawtx", n))
		case line.Topic == node.TopicSequence:
			if s, err := transcript.ParseSequence(line.Body); err == nil && s.Hash == id {
				events = append(events, fmt.Sprintf("%d: %c", n, s.Letter))
			}
		}
	}
	return events
}

// difference returns the transactions whose evidence is wrong.
func (w *watch) difference(want map[chainhash.Hash]bool) (missing, surplus []chainhash.Hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return difference(w.held, want)
}

func difference(have, want map[chainhash.Hash]bool) (missing, surplus []chainhash.Hash) {
	for id := range want {
		if !have[id] {
			missing = append(missing, id)
		}
	}
	for id, held := range have {
		if held && !want[id] {
			surplus = append(surplus, id)
		}
	}
	return missing, surplus
}

func transaction(t *testing.T, body []byte) *wire.MsgTx {
	t.Helper()
	tx, err := rawtx.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func realLife(t *testing.T) []transcript.Line {
	t.Helper()
	lines, err := transcript.ReadFiles(testblock.Data(t, "bitcoind/zmq.jsonl"), testblock.Data(t, "bitcoind/rpc.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// blocksLost drops the end of each second block, its C or D included: the effect of a high-water mark that is too low.
func blocksLost(lines []transcript.Line, chance *rand.Rand) fault {
	lost, begun := make(map[int]bool), 0
	for n, line := range lines {
		switch line.Topic {
		case node.TopicRawTx:
			if tx, err := rawtx.Decode(line.Body); err == nil && tx.TxIn[0].PreviousOutPoint.Index == wire.MaxPrevOutIndex {
				begun = n
			}
		case node.TopicSequence:
			s, err := transcript.ParseSequence(line.Body)
			if err != nil || s.Letter != transcript.Connected && s.Letter != transcript.Disconnected || chance.IntN(2) == 0 {
				continue
			}
			for i := begun + chance.IntN(n-begun+1); i <= n; i++ {
				lost[i] = true
			}
		}
	}
	return func(n int) (replay.Fault, bool) {
		if lost[n] {
			return replay.Drop, false
		}
		return replay.Deliver, false
	}
}

// faults returns the faults that a connection to a node may have.
func faults(seed uint64, lines []transcript.Line) map[string]fault {
	twice, cuts, all := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2)), rand.New(rand.NewPCG(seed, 3))
	return map[string]fault{
		"blocks lost": blocksLost(lines, rand.New(rand.NewPCG(seed, 4))),
		"no fault":    none,
		"every tenth message lost": func(n int) (replay.Fault, bool) {
			if n%10 == int(seed%10) {
				return replay.Drop, false
			}
			return replay.Deliver, false
		},
		"repeats": func(int) (replay.Fault, bool) {
			if twice.IntN(3) == 0 {
				return replay.Duplicate, false
			}
			return replay.Deliver, false
		},
		"cuts": func(int) (replay.Fault, bool) { return replay.Deliver, cuts.IntN(40) == 0 },
		"all faults": func(int) (replay.Fault, bool) {
			return []replay.Fault{replay.Drop, replay.Duplicate, replay.Deliver, replay.Deliver, replay.Deliver}[all.IntN(5)], all.IntN(100) == 0
		},
	}
}

// TestNode_RealTranscript plays a real bitcoind's recording over a perfect and over faulty connections. At every
// recorded request for the mempool, our view is the same.
func TestNode_RealTranscript(t *testing.T) {
	lines := realLife(t)
	for name, happens := range faults(7, lines) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatch(t, lines, true, t.Output())
			w.playAll(happens)
			w.awaitEvidence(name == "no fault" || name == "repeats")
		})
	}
}

// TestNode_RealTranscriptWithoutRPC: a listener from the node's start knows its mempool from ZMQ alone.
func TestNode_RealTranscriptWithoutRPC(t *testing.T) {
	w := newWatch(t, untilRestart(realLife(t)), false, t.Output())
	w.playAll(none)
}

func untilRestart(lines []transcript.Line) []transcript.Line {
	var last uint32
	for i, l := range lines {
		if l.Topic == node.TopicRawTx {
			if l.Counter < last {
				return lines[:i]
			}
			last = l.Counter
		}
	}
	return lines
}

// TestNode_SimulatedTranscripts: the same for simulated nodes, one for each seed, each with all topics at one endpoint
// and with an endpoint for each.
func TestNode_SimulatedTranscripts(t *testing.T) {
	for seed := range uint64(4) {
		lines := simnode.Lines(seed, 150)
		for name, happens := range faults(seed, lines) {
			t.Run(fmt.Sprintf("%d, %s", seed, name), func(t *testing.T) {
				t.Parallel()
				w := newWatch(t, lines, true, t.Output())
				w.playAll(happens)
				w.awaitEvidence(false)
			})
		}
		for name, happens := range faults(seed, lines) {
			t.Run(fmt.Sprintf("%d, %s, two addresses", seed, name), func(t *testing.T) {
				t.Parallel()
				w := watchNode(t, lines, replay.NodeOptions{Sequence: "tcp://127.0.0.1:*"}, true, t.Output())
				w.playAll(happens)
				w.awaitEvidence(false)
			})
		}
	}
}
