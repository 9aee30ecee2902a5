package node_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sightglass/ingester/node"
	"sightglass/ingester/replay"
	"sightglass/ingester/replay/simnode"
	"sightglass/ingester/transcript"
	"sightglass/shared/logtest"
)

// quietText is logged when RPC confirms that the node is idle.
const quietText = "bitcoind is idle, and its mempool has not changed"

// await waits until the log says something.
func (w *watch) await(j *logtest.Log, text string) {
	w.t.Helper()
	w.eventually(func() string {
		if j.Count(text) > 0 {
			return ""
		}
		return "got no log line with " + text
	})
}

// count returns the sum of a metric's series.
func (w *watch) count(name string) (sum float64) {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() // one of them is zero
			}
			return sum
		}
	}
	w.t.Fatalf("got no metric %s", name)
	return 0
}

// play plays n lines.
func (w *watch) play(n int, f replay.Fault) {
	w.t.Helper()
	for range n {
		w.step(f)
	}
}

// TestNode_IdleNodeKeepsSocket: on networks without traffic an idle node is no fault.
func TestNode_IdleNodeKeepsSocket(t *testing.T) {
	var log logtest.Log
	w := newWatch(t, plain(), true, &log)
	w.ready()
	w.play(40, replay.Deliver)
	w.compare("all delivered")
	w.await(&log, quietText)
	if n := w.count("sightglass_node_renewals_total"); n != 0 {
		t.Errorf("got %v replaced sockets, want 0", n)
	}
}

// TestNode_DeadConnectionReplacesSocket: the node's mempool changes without messages.
func TestNode_DeadConnectionReplacesSocket(t *testing.T) {
	var log logtest.Log
	w := newWatch(t, plain(), true, &log)
	w.ready()
	w.play(20, replay.Deliver)
	w.compare("half delivered")
	w.eventually(func() string { // so that no earlier resync is pending, which would close the gap as well
		if log.Count(quietText) < 4 {
			return "got no log line about an idle node"
		}
		return ""
	})
	w.play(20, replay.Drop)
	w.await(&log, "changed without a message")
	w.compare("fetched")
	w.awaitEvidence(true)
	if n := w.count("sightglass_node_renewals_total"); n == 0 {
		t.Error("got no replaced socket, want one")
	}
}

// TestNode_DefersWhileNodeIsStarting: while RPC reports that the node is warming up, its messages are its old mempool,
// for any length of time; they become evidence with their entry times.
func TestNode_DefersWhileNodeIsStarting(t *testing.T) {
	var log logtest.Log
	w := newWatch(t, plain(), true, &log)
	w.theirs.Fail(func(string) *replay.RPCError { return &replay.RPCError{Code: -28, Message: "Loading block index…"} })
	w.ready()
	w.await(&log, "Loading block index")
	w.play(40, replay.Deliver)
	w.eventually(func() string {
		if held := w.count("sightglass_node_deferred_transactions_total"); held < 20 {
			return fmt.Sprintf("got %v deferred transactions, want 20 or more", held)
		}
		return ""
	})
	if missing, surplus := w.difference(nil); len(missing)+len(surplus) > 0 {
		t.Error("got evidence before RPC works, want none")
	}
	w.theirs.Fail(nil)
	w.compare("after the start")
	w.awaitEvidence(true)
}

// TestNode_DefersMempoolOfNodeThatStartsLater: the node starts after the ingester and loads its mempool from its file;
// the transactions that it publishes then are not new.
func TestNode_DefersMempoolOfNodeThatStartsLater(t *testing.T) {
	var log logtest.Log
	w := newWatch(t, plain(), true, &log)
	w.theirs.Fail(func(string) *replay.RPCError { return &replay.RPCError{Code: -1, Message: "not there"} })
	w.ready()
	w.await(&log, "not there")
	w.theirs.Loading(true)
	w.theirs.Fail(nil)
	if err := w.theirs.Cut(); err != nil {
		t.Fatal(err)
	}
	w.awaitSubscriber()
	w.play(40, replay.Deliver)
	w.eventually(func() string {
		if held := w.count("sightglass_node_deferred_transactions_total"); held < 20 {
			return fmt.Sprintf("got %v deferred transactions, want 20 or more", held)
		}
		return ""
	})
	if _, surplus := w.difference(w.mined); len(surplus) > 0 {
		t.Errorf("got %d transactions of its file as new evidence, want none", len(surplus))
	}
	w.theirs.Loading(false)
	w.compare("loaded")
	w.awaitEvidence(true)
}

func TestNode_CountsMissedAndRepeatedMessages(t *testing.T) {
	w := newWatch(t, plain(), true, t.Output())
	w.ready()
	w.play(10, replay.Deliver)
	w.play(4, replay.Drop)
	w.play(4, replay.Duplicate)
	w.compare("some lost, some repeated")
	want := `
# HELP sightglass_node_missed_messages_total Messages that did not arrive, by the node's counters; topic mempool: changes of the mempool that no message reported, by the mempool's sequence.
# TYPE sightglass_node_missed_messages_total counter
sightglass_node_missed_messages_total{topic="mempool"} 0
sightglass_node_missed_messages_total{topic="rawtx"} 2
sightglass_node_missed_messages_total{topic="sequence"} 2
# HELP sightglass_node_repeated_messages_total Messages that were received repeatedly.
# TYPE sightglass_node_repeated_messages_total counter
sightglass_node_repeated_messages_total{topic="rawtx"} 2
sightglass_node_repeated_messages_total{topic="sequence"} 2
`
	w.eventually(func() string {
		if err := testutil.GatherAndCompare(w.reg, strings.NewReader(want),
			"sightglass_node_missed_messages_total", "sightglass_node_repeated_messages_total"); err != nil {
			return err.Error()
		}
		return ""
	})
}

// TestNode_RestartIsNoGap: counters that restart do not count as lost messages.
func TestNode_RestartIsNoGap(t *testing.T) {
	w := newWatch(t, realLife(t), true, t.Output())
	w.playAll(none)
	w.awaitEvidence(true)
	if n := w.count("sightglass_node_in_sync"); n != 1 {
		t.Error("got out of sync after the restart, want in sync")
	}
}

// ready waits until the replayed node has its subscriber, and plays the lines before those of plain.
func (w *watch) ready() {
	w.t.Helper()
	w.awaitSubscriber()
	w.play(len(simnode.Lines(1, 0)), replay.Deliver)
}

// plain is a recording of one block and then of 20 transactions, two lines each. play plays only those; the block is
// before them.
func plain() []transcript.Line { return plainOf(20) }

// plainOf is plain with n transactions.
func plainOf(n int) []transcript.Line {
	lines := simnode.Lines(1, 0)
	counters := make(map[string]uint32)
	for _, l := range lines {
		counters[l.Topic]++
	}
	for i := range n {
		tx := wire.NewMsgTx(2)
		tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{Hash: chainhash.Hash{1}, Index: uint32(i)}, nil, nil))
		tx.AddTxOut(wire.NewTxOut(100_000, make([]byte, 22)))
		var body bytes.Buffer
		if err := tx.Serialize(&body); err != nil {
			panic(err) // into memory
		}
		change := transcript.Sequence{Hash: tx.TxHash(), Letter: transcript.Added, Number: uint64(i + 1)}
		for _, l := range []transcript.Line{{Topic: node.TopicRawTx, Body: body.Bytes()}, {Topic: node.TopicSequence, Body: change.Body()}} {
			l.T, l.Counter = 10+float64(i)/100, counters[l.Topic]
			counters[l.Topic]++
			lines = append(lines, l)
		}
	}
	return lines
}

// TestNode_DropsOldBlocksDuringCatchUp: a node that was down for a day publishes that day's blocks as it gets them.
// Only RPC knows their age.
func TestNode_DropsOldBlocksDuringCatchUp(t *testing.T) {
	lines := realLife(t)[:440] // 110 blocks
	for name, c := range map[string]struct {
		age      time.Duration
		evidence bool
	}{
		"of a day ago": {24 * time.Hour, false},
		"of just now":  {0, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatchAt(t, lines, time.Now().Add(-c.age), t.Output())
			w.awaitSubscriber()
			w.play(len(lines), replay.Deliver)
			if c.evidence {
				w.awaitEvidence(true)
				return
			}
			w.eventually(func() string {
				if old := w.count("sightglass_node_old_transactions_total"); old == 0 {
					return "got no old transactions, want some"
				}
				return ""
			})
			w.compare("caught up")
			if _, surplus := w.difference(nil); len(surplus) > 0 {
				t.Errorf("got %d transactions of a day ago as evidence, want none", len(surplus))
			}
		})
	}
}

// TestNode_ClockStepFetchesWindowAgain: by a wrong clock the node's transactions had another age, so all are fetched
// again when the clock is set.
func TestNode_ClockStepFetchesWindowAgain(t *testing.T) {
	w := newWatch(t, plain(), true, t.Output())
	w.ready()
	w.play(40, replay.Deliver)
	w.compare("in sync")
	w.awaitEvidence(true)
	w.mu.Lock()
	clear(w.held)
	w.mu.Unlock()
	w.ours.HandleClockStep(-4 * time.Hour)
	w.awaitEvidence(true)
	w.compare("fetched again")
}

// TestNode_DetectsRestartWithoutCounterReset: the node restarts without its mempool file while disconnected, and its
// counters have passed ours when the connection is back. Its old mempool is not in our view then, but no message
// removed those payments, so they remain evidence until they are too old.
func TestNode_DetectsRestartWithoutCounterReset(t *testing.T) {
	var log logtest.Log
	l := simnode.New(1)
	l.Pay(30)
	before := len(l.Lines())
	l.Restart()
	l.Pay(60)
	lines := l.Lines()
	f := newFront(t)
	w := watchNode(t, lines, replay.NodeOptions{}, true, &log, f.behind)
	w.awaitSubscriber()
	w.play(before, replay.Deliver)
	w.compare("before")
	w.awaitEvidence(true)
	old, _ := w.theirs.Mempool()

	f.answer(hangUp)
	w.play(1+100, replay.Drop) // the restart, which ends the connection, and 50 transactions
	w.awaitSubscriber()
	w.play(20, replay.Deliver)
	f.answer(nil)
	w.compare("after")
	w.awaitEvidence(false)
	w.await(&log, "bitcoind restarted while disconnected")
	w.eventually(func() string { // every walk is complete, and would have removed them
		if n := log.Count(quietText); n < 3 {
			return "got no log line about an idle node"
		}
		return ""
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range old {
		if !w.held[id] {
			t.Fatalf("got %v removed, want it as evidence", id)
		}
	}
}
