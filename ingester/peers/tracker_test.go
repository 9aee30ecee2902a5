package peers

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sightglass/ingester/node"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// payment returns a transaction that spends the n-th output of nothing.
func payment(n int, value int64) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	var previous chainhash.Hash
	binary.LittleEndian.PutUint64(previous[:], uint64(n))
	tx.AddTxIn(wire.NewTxIn(wire.NewOutPoint(&previous, 0), nil, nil))
	tx.AddTxOut(wire.NewTxOut(value, nil))
	return tx
}

// connectedTracker returns a tracker with a quorum of 3 and eight peers.
func connectedTracker() *tracker {
	t := newTracker(3, NewMetrics(prometheus.NewRegistry()))
	t.pick = lowest
	for id := range peerID(8) {
		t.connect(id)
	}
	return t
}

// did describes what a tracker wants to be done.
func did(t *tracker) (text string) {
	out := t.take()
	for _, r := range out.requests {
		text += fmt.Sprintf("ask %d for %d; ", r.peer, len(r.ids))
	}
	for _, e := range out.events {
		if e.Kind == node.Gone {
			text += "gone; "
		} else {
			text += fmt.Sprintf("seen at %v; ", e.At.Sub(start))
		}
	}
	for _, id := range out.drop {
		text += fmt.Sprintf("drop %d; ", id)
	}
	return text
}

func expect(t *testing.T, tr *tracker, step, want string) {
	t.Helper()
	if got := did(tr); got != want {
		t.Errorf("%s: got %q, want %q", step, got, want)
	}
}

func TestTracker_CountsAtQuorum(t *testing.T) {
	tr, tx := connectedTracker(), payment(1, 1000)
	hash := tx.TxHash()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	tr.announce(4, hash, at(0))
	tr.announce(4, hash, at(1))
	tr.announce(2, hash, at(2))
	expect(t, tr, "two peers", "")
	if tr.body(4, tx, at(2)) {
		t.Error("got an unrequested body accepted, want it rejected")
	}
	expect(t, tr, "an unrequested body", "")
	tr.announce(6, hash, at(3))
	expect(t, tr, "three peers", "ask 2 for 1; ")
	tr.notFound(2, hash, at(4))
	expect(t, tr, "not found", "ask 4 for 1; ")
	tr.tick(at(8), time.Hour)
	expect(t, tr, "not yet late", "")
	tr.tick(at(9), time.Hour)
	expect(t, tr, "late", "ask 6 for 1; ")
	tr.announce(7, hash, at(10))
	tr.tick(at(14), time.Hour)
	expect(t, tr, "late again", "ask 7 for 1; ")
	if !tr.body(4, tx, at(15)) {
		t.Error("got a late body rejected, want it accepted: the peer was asked")
	}
	expect(t, tr, "the body", "seen at 0s; ")
	tr.body(7, tx, at(16))
	tr.announce(1, hash, at(17))
	expect(t, tr, "afterwards", "")
	if tr.peers[7].unrequested != 0 || tr.peers[4].unrequested != 1 {
		t.Errorf("got unrequested bodies %d and %d, want that of peer 4 before the request", tr.peers[7].unrequested, tr.peers[4].unrequested)
	}
}

// TestTracker_LiarsBelowQuorum: two peers make up transactions, which never count, and both are dropped. Three would be
// believed: that is the stated limit.
func TestTracker_LiarsBelowQuorum(t *testing.T) {
	tr := connectedTracker()
	now := start
	for i := range 2 * judgedAfter {
		hash := payment(i, 1).TxHash()
		tr.announce(0, hash, now)
		tr.announce(1, hash, now)
		honest := payment(1000+i, 1)
		for id := range peerID(6) {
			tr.announce(2+id, honest.TxHash(), now)
		}
		tr.body(2, honest, now)
	}
	for _, e := range tr.take().events {
		if e.Tx.TxIn[0].PreviousOutPoint.Hash[1] == 0 && e.Tx.TxIn[0].PreviousOutPoint.Hash[0] < 2*judgedAfter {
			t.Fatalf("got a made-up transaction counted: %v", e.ID)
		}
	}
	tr.tick(now.Add(pendingTimeout), time.Hour)
	expect(t, tr, "the liar that was first", "drop 0; ")
	if len(tr.pending) != 0 || testutil.ToFloat64(tr.metrics.unconfirmed.WithLabelValues("0")) != 2*judgedAfter {
		t.Errorf("got %d pending and %v unconfirmed, want none and all", len(tr.pending), testutil.ToFloat64(tr.metrics.unconfirmed.WithLabelValues("0")))
	}

	tx := payment(5000, 1)
	for id := range peerID(3) {
		tr.announce(id, tx.TxHash(), now)
	}
	expect(t, tr, "three liars", "ask 0 for 1; ")
	tr.body(0, tx, now)
	expect(t, tr, "three liars", "seen at 0s; ")
}

func TestTracker_ReplacementIsGone(t *testing.T) {
	tr := connectedTracker()
	count := func(tx *wire.MsgTx) {
		for id := range peerID(3) {
			tr.announce(id, tx.TxHash(), start)
		}
		tr.take()
		tr.body(0, tx, start)
	}
	first, second, third := payment(1, 1000), payment(1, 2000), payment(1, 3000)
	count(first)
	expect(t, tr, "the first", "seen at 0s; ")
	count(second)
	expect(t, tr, "its replacement", "gone; seen at 0s; ")
	tr.mined([]*wire.MsgTx{second, payment(2, 1)}, start.Add(time.Minute), start.Add(2*time.Minute))
	expect(t, tr, "mined, with an unknown one", "seen at 1m0s; ")
	count(third)
	expect(t, tr, "a conflict with a mined one", "seen at 0s; ")
	tr.mined([]*wire.MsgTx{payment(1, 4000)}, start, start)
	expect(t, tr, "a conflict with a block", "seen at 0s; gone; ")
	if len(tr.spent) != 0 || len(tr.inputs) != 0 {
		t.Errorf("got %d spent outputs and %d transactions, want none after all were mined", len(tr.spent), len(tr.inputs))
	}
}

// TestTracker_BlockConfirmsAnnounced: a transaction that was announced before its block is as old as the announcement, and
// the block's others are as old as the block.
func TestTracker_BlockConfirmsAnnounced(t *testing.T) {
	tr, announced := connectedTracker(), payment(1, 1)
	tr.announce(0, announced.TxHash(), start)
	tr.mined([]*wire.MsgTx{announced, payment(2, 1)}, start.Add(time.Minute), start.Add(2*time.Minute))
	expect(t, tr, "the block", "seen at 0s; seen at 1m0s; ")
}

func TestTracker_DisconnectedPeerDoesNotCount(t *testing.T) {
	tr, hash := connectedTracker(), payment(1, 1).TxHash()
	tr.announce(0, hash, start)
	tr.announce(1, hash, start)
	tr.disconnect(0, start)
	tr.announce(2, hash, start)
	expect(t, tr, "two are left", "")
	tr.announce(3, hash, start)
	expect(t, tr, "three", "ask 1 for 1; ")
	tr.disconnect(1, start)
	expect(t, tr, "the asked one is gone, and the quorum too", "")
	tr.connect(1)
	tr.announce(1, hash, start)
	expect(t, tr, "three again", "ask 1 for 1; ")
	for id := range peerID(8) {
		tr.disconnect(id, start)
	}
	if len(tr.pending) != 0 {
		t.Errorf("got %d pending transactions without a peer, want none", len(tr.pending))
	}
}

func TestTracker_IsBounded(t *testing.T) {
	tr := connectedTracker()
	for i := range 2 * maxPendingPerPeer {
		tr.announce(0, payment(i, 1).TxHash(), start)
	}
	honest := payment(1_000_000, 1)
	for id := range peerID(3) {
		tr.announce(id+1, honest.TxHash(), start)
	}
	if len(tr.pending) != maxPendingPerPeer+1 || testutil.ToFloat64(tr.metrics.refused) != maxPendingPerPeer {
		t.Errorf("got %d pending and %v refused, want %d of the one peer and the others' one", len(tr.pending), testutil.ToFloat64(tr.metrics.refused), maxPendingPerPeer)
	}
	tr.body(1, honest, start)
	if tr.tick(start.Add(2*time.Hour), time.Hour); len(tr.counted)+len(tr.pending)+len(tr.spent)+len(tr.inputs) != 0 {
		t.Errorf("got %d counted, %d pending, %d spent, %d inputs after the window; want none", len(tr.counted), len(tr.pending), len(tr.spent), len(tr.inputs))
	}
}
