package node_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/node"
	"sightglass/ingester/replay"
	"sightglass/ingester/replay/simnode"
	"sightglass/ingester/transcript"
	"sightglass/ingester/zmqsub"
)

// A run is a tracker and a replayed node whose RPC it calls, with its own clock and without ZMQ. A seed determines the
// order of messages, requests, responses and ticks, so that it is reproducible. Messages may be delayed, and responses
// outdated.
type run struct {
	t       *testing.T
	chance  *rand.Rand
	lines   []transcript.Line
	now     time.Time
	theirs  *replay.Node
	rpc     *bitcoind.Client
	tracker node.Tracker

	wires     [][]zmqsub.Message // messages in flight: one connection, or one per topic
	requests  []node.Fetch       // not sent yet
	responses []node.Apply       // not applied yet

	blocks
	held map[chainhash.Hash]bool // evidence: Seen and not Gone
}

const idleTimeout = time.Minute

func newRun(t *testing.T, seed uint64, lines []transcript.Line, connections int) *run {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	theirs, err := replay.NewNode(replay.NodeOptions{Endpoint: "tcp://127.0.0.1:*", RPCListen: "127.0.0.1:0", Log: logger}, lines)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(theirs.Close)
	rpc, err := bitcoind.New(bitcoind.Options{URL: theirs.RPCURL(), User: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rpc.Close)
	l := &run{
		t: t, lines: lines, chance: rand.New(rand.NewPCG(seed, 9)), now: time.Now(), theirs: theirs, rpc: rpc,
		wires:  make([][]zmqsub.Message, connections),
		blocks: blocks{mined: make(map[chainhash.Hash]bool)}, held: make(map[chainhash.Hash]bool),
	}
	l.tracker = node.NewTracker(node.Options{
		ZMQ: slices.Repeat(theirs.Endpoints(), connections), RPC: rpc, Window: 3 * time.Hour, IdleTimeout: idleTimeout, ZMQOnlyAfter: 30 * time.Second, Log: logger,
	}, node.NewMetrics(prometheus.NewRegistry()), l.now)
	l.link(zmqsub.Up)
	return l
}

// link reports that all connections are up or down.
func (l *run) link(kind zmqsub.Kind) {
	for range l.wires {
		l.tracker.Handle(zmqsub.Message{Kind: kind, At: l.now, Endpoint: l.theirs.Endpoint(), Address: "127.0.0.1:28332"})
	}
}

// output executes the tracker's output.
func (l *run) output() {
	events, requests, reconnect := l.tracker.Output(l.rpc)
	for _, ev := range events {
		l.held[ev.ID] = ev.Kind == node.Seen
	}
	l.requests = append(l.requests, requests...)
	if reconnect {
		clear(l.wires)
		l.link(zmqsub.Up)
		l.output()
	}
}

// send plays the node's next line; ok is false at the end.
func (l *run) send(f replay.Fault) (ok bool) {
	line, ok, err := l.theirs.Step(replay.Drop) // the test carries the message
	if err != nil {
		l.t.Fatal(err)
	}
	l.note(l.t, line)
	switch {
	case line.Method == replay.Restart: // the connection ends, and earlier responses have been applied
		l.deliverAll()
		l.apply(len(l.responses))
		l.link(zmqsub.Down)
		l.link(zmqsub.Up)
	case line.Topic == node.TopicRawTx || line.Topic == node.TopicSequence: // the subscribed topics
		m := zmqsub.Message{Kind: zmqsub.Data, Frames: [][]byte{[]byte(line.Topic), line.Body, binary.LittleEndian.AppendUint32(nil, line.Counter)}}
		for range [...]int{replay.Deliver: 1, replay.Drop: 0, replay.Duplicate: 2}[f] {
			wire := &l.wires[0]
			if line.Topic == node.TopicSequence {
				wire = &l.wires[len(l.wires)-1]
			}
			*wire = append(*wire, m)
		}
	}
	return ok
}

// deliver hands up to n messages of a connection to the tracker.
func (l *run) deliver(wire *[]zmqsub.Message, n int) {
	for range min(n, len(*wire)) {
		if len(*wire) == 0 {
			return // the socket was replaced
		}
		m := (*wire)[0]
		*wire = (*wire)[1:]
		m.At = l.now
		l.tracker.Handle(m)
		l.output()
	}
}

func (l *run) deliverAll() {
	for i := range l.wires {
		l.deliver(&l.wires[i], len(l.wires[i]))
	}
}

// call sends up to n requests, in any order.
func (l *run) call(n int) {
	for range n {
		if len(l.requests) == 0 {
			return
		}
		i := l.chance.IntN(len(l.requests))
		l.responses = append(l.responses, l.requests[i]())
		l.requests = slices.Delete(l.requests, i, i+1)
	}
}

// apply hands up to n responses to the tracker, in any order.
func (l *run) apply(n int) {
	for range n {
		if len(l.responses) == 0 {
			return
		}
		i := l.chance.IntN(len(l.responses))
		apply := l.responses[i]
		l.responses = slices.Delete(l.responses, i, i+1)
		apply(l.now)
		l.output()
	}
}

func (l *run) pass(d time.Duration) {
	l.now = l.now.Add(d)
	l.tracker.Tick(l.now)
	l.tracker.Work(l.now)
	l.output()
}

// play plays the whole recording in an order of the seed.
func (l *run) play(happens fault) {
	for n := 0; ; n++ {
		f, cut := happens(n)
		if cut {
			for i, wire := range l.wires {
				l.wires[i] = wire[:l.chance.IntN(len(wire)+1)]
			}
			l.deliverAll()
			l.link(zmqsub.Down)
			l.link(zmqsub.Up)
			l.output()
		}
		if !l.send(f) {
			break
		}
		for l.chance.IntN(3) > 0 {
			l.now = l.now.Add(time.Duration(l.chance.IntN(20)) * time.Millisecond)
			switch l.chance.IntN(6) {
			case 0, 1:
				l.deliver(&l.wires[l.chance.IntN(len(l.wires))], l.chance.IntN(8))
			case 2:
				l.call(1)
			case 3:
				l.apply(1)
			case 4:
				l.tracker.Work(l.now)
				l.output()
			case 5:
				l.pass(time.Duration(l.chance.IntN(200)) * time.Millisecond)
			}
		}
	}
}

// settle delivers everything in flight until the tracker has no work left. It passes an idle time, which reveals a lost
// last message.
func (l *run) settle() {
	l.t.Helper()
	quietSince := l.now
	for range 100_000 {
		l.deliverAll()
		l.call(len(l.requests))
		l.apply(len(l.responses))
		l.pass(100 * time.Millisecond)
		if l.tracker.Unsettled() != "" {
			quietSince = l.now
		}
		if l.now.Sub(quietSince) > 2*idleTimeout {
			return
		}
	}
	l.t.Fatalf("got an unsettled tracker: %s", l.tracker.Unsettled())
}

// check compares the mempool and the evidence with the node's.
func (l *run) check() {
	l.t.Helper()
	pooled, sequence := l.theirs.Mempool()
	got := l.tracker.View()
	slices.SortFunc(got.IDs, func(a, b chainhash.Hash) int { return bytes.Compare(a[:], b[:]) })
	if !slices.Equal(got.IDs, pooled) || got.Sequence != sequence {
		l.t.Errorf("got %d transactions at %d in our mempool, want %d at %d", len(got.IDs), got.Sequence, len(pooled), sequence)
	}
	missing, _ := difference(l.held, l.evidence(pooled)) // transactions that a restarted node lost remain evidence
	for _, id := range missing {
		l.t.Errorf("got no evidence of %v, want some: %v", id, story(l.t, l.lines, id))
	}
}

// TestTracker_AnyOrder plays recordings in hundreds of orders of messages, requests, responses and ticks, with the
// faults of a connection.
func TestTracker_AnyOrder(t *testing.T) {
	for seed := range uint64(40) {
		lines := simnode.Lines(seed, 150)
		for name, happens := range faults(seed, lines) {
			t.Run(fmt.Sprintf("%d, %s", seed, name), func(t *testing.T) {
				t.Parallel()
				l := newRun(t, seed, lines, 1+int(seed%2))
				l.play(happens)
				l.settle()
				l.check()
			})
		}
	}
}
