package peers

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/node"
)

// The bounds of a tracker.
const (
	// maxPeers is how many peers may be connected: an announcement is a bit in a word.
	maxPeers = 64
	// bodyTimeout is how long a peer may take to send a transaction that it has announced.
	bodyTimeout = 5 * time.Second
	// pendingTimeout is how long a transaction may wait for a quorum. Bitcoin Core announces to most peers within 20 s.
	pendingTimeout = 2 * time.Minute
	// maxPendingPerPeer is how many transactions without a quorum a peer may be the first to announce, as many as Bitcoin
	// Core accepts.
	maxPendingPerPeer = 5000
	// maxCounted bounds the transactions that are remembered after they were counted: those of a busy window.
	maxCounted = 500_000
	// judgedAfter is how many of a peer's first announcements must have a result before it is judged by them, and
	// confirmedShare how many of them other peers must have confirmed.
	judgedAfter    = 50
	confirmedShare = 0.5
)

// A peerID is the bit of a connected peer.
type peerID uint8

// A pending transaction waits for its quorum, or for its body.
type pending struct {
	since   time.Time
	first   peerID // who announced it first, and pays for it with its allowance
	by      uint64 // the peers that have announced it
	asked   uint64 // those that were asked for the body
	askedAt time.Time
	asking  bool // a peer has been asked, and has not responded
	from    peerID
}

// A connected peer, as the tracker knows it.
type connected struct {
	pending           int // transactions of which it was the first
	judged, confirmed int // of its first announcements: with a result, and of those the ones with a quorum
	unrequested       int
}

// A request asks a peer for transactions.
type request struct {
	peer peerID
	ids  []chainhash.Hash
}

// output is what a tracker wants to be done.
type output struct {
	events   []node.Event
	requests []request
	drop     []peerID // peers that announce what no other peer does
}

// A tracker decides which transactions count: those that a quorum of peers has announced, and whose body is the announced
// one. It has no clock and no I/O, and is for one goroutine.
type tracker struct {
	quorum  int
	metrics *Metrics
	pick    func(set uint64) peerID // one of the peers in a set that is not empty
	peers   [maxPeers]*connected    // nil: not connected
	pending map[chainhash.Hash]*pending
	counted map[chainhash.Hash]time.Time       // when it was first announced, or came in a block
	spent   map[wire.OutPoint]chainhash.Hash   // by counted transactions of the mempool
	inputs  map[chainhash.Hash][]wire.OutPoint // of counted transactions of the mempool
	out     output
}

func newTracker(quorum int, m *Metrics) *tracker {
	return &tracker{
		quorum: quorum, metrics: m, pick: random,
		pending: make(map[chainhash.Hash]*pending), counted: make(map[chainhash.Hash]time.Time),
		spent: make(map[wire.OutPoint]chainhash.Hash), inputs: make(map[chainhash.Hash][]wire.OutPoint),
	}
}

// random returns one of the peers in a set, so that all get as many requests.
func random(set uint64) peerID {
	for range rand.IntN(bits.OnesCount64(set)) {
		set &= set - 1 // without the lowest
	}
	return lowest(set)
}

func lowest(set uint64) peerID { return peerID(bits.TrailingZeros64(set)) }

// take returns what is to be done, once.
func (t *tracker) take() (out output) {
	out, t.out = t.out, output{}
	return out
}

func (t *tracker) connect(id peerID) { t.peers[id] = new(connected) }

// disconnect forgets a peer. Its announcements no longer count, because the next peer has the same bit.
func (t *tracker) disconnect(id peerID, now time.Time) {
	t.peers[id] = nil
	bit := uint64(1) << id
	for hash, p := range t.pending {
		p.by &^= bit
		p.asked &^= bit
		switch {
		case p.by == 0:
			delete(t.pending, hash)
		case p.asking && p.from == id:
			p.asking = false
			t.ask(hash, p, now)
		}
		if p.first == id && p.by != 0 {
			p.first = lowest(p.by)
			t.peers[p.first].pending++
		}
	}
}

// announce applies a peer's announcement of a transaction.
func (t *tracker) announce(id peerID, hash chainhash.Hash, now time.Time) {
	if _, known := t.counted[hash]; known {
		return
	}
	peer := t.peers[id]
	p := t.pending[hash]
	if p == nil {
		if peer.pending >= maxPendingPerPeer {
			t.metrics.refused.Inc()
			return
		}
		peer.pending++
		p = &pending{since: now, first: id}
		t.pending[hash] = p
	}
	p.by |= 1 << id
	if bits.OnesCount64(p.by) >= t.quorum && !p.asking {
		t.ask(hash, p, now)
	}
}

// ask asks the next peer for a body: one that has announced it and was not asked, while there is a quorum.
func (t *tracker) ask(hash chainhash.Hash, p *pending, now time.Time) {
	left := p.by &^ p.asked
	if bits.OnesCount64(p.by) < t.quorum || left == 0 {
		return
	}
	p.from = t.pick(left)
	p.asked |= 1 << p.from
	p.asking, p.askedAt = true, now
	for i := range t.out.requests {
		if r := &t.out.requests[i]; r.peer == p.from && len(r.ids) < wire.MaxInvPerMsg {
			r.ids = append(r.ids, hash)
			return
		}
	}
	t.out.requests = append(t.out.requests, request{p.from, []chainhash.Hash{hash}})
}

// body applies a transaction that a peer has sent. It returns false if the peer was not asked for it.
func (t *tracker) body(id peerID, tx *wire.MsgTx, now time.Time) bool {
	hash := tx.TxHash()
	p := t.pending[hash]
	if p == nil || p.asked&(1<<id) == 0 {
		if _, known := t.counted[hash]; known {
			return true // another peer was faster
		}
		t.metrics.unrequested.Inc()
		t.peers[id].unrequested++
		return false
	}
	t.settle(hash, p, true)
	t.count(hash, tx, p.since, now, true)
	return true
}

// notFound applies a peer's response that it no longer has a transaction.
func (t *tracker) notFound(id peerID, hash chainhash.Hash, now time.Time) {
	if p := t.pending[hash]; p != nil && p.asking && p.from == id {
		p.asking = false
		t.metrics.notFound.Inc()
		t.ask(hash, p, now)
	}
}

// mined applies the transactions of a block in the chain. Transactions of the mempool that conflict with them are gone.
func (t *tracker) mined(txs []*wire.MsgTx, at, now time.Time) {
	for _, tx := range txs {
		hash := tx.TxHash()
		t.forgetInputs(hash)
		seen := at
		if p := t.pending[hash]; p != nil {
			t.settle(hash, p, true)
			seen = earlier(at, p.since)
		}
		if _, known := t.counted[hash]; !known {
			t.count(hash, tx, seen, now, false)
		}
		for _, in := range tx.TxIn {
			if other, conflicts := t.spent[in.PreviousOutPoint]; conflicts && other != hash {
				t.gone(other)
			}
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// count makes a transaction evidence. One of the mempool replaces those that spend the same outputs.
func (t *tracker) count(hash chainhash.Hash, tx *wire.MsgTx, at, now time.Time, mempool bool) {
	if len(t.counted) >= maxCounted {
		t.forgetBefore(now, 0)
	}
	t.counted[hash] = at
	if mempool {
		inputs := make([]wire.OutPoint, len(tx.TxIn))
		for i, in := range tx.TxIn {
			inputs[i] = in.PreviousOutPoint
			if other, conflicts := t.spent[inputs[i]]; conflicts {
				t.gone(other)
			}
		}
		for _, spent := range inputs {
			t.spent[spent] = hash
		}
		t.inputs[hash] = inputs
	}
	t.metrics.counted.Inc()
	t.out.events = append(t.out.events, node.Event{Kind: node.Seen, ID: hash, Tx: tx, At: at, Received: receivedAt(mempool, now)})
}

// receivedAt is zero for a transaction of a block, whose delay is not the program's.
func receivedAt(mempool bool, now time.Time) time.Time {
	if mempool {
		return now
	}
	return time.Time{}
}

func (t *tracker) gone(hash chainhash.Hash) {
	t.forgetInputs(hash)
	t.metrics.replaced.Inc()
	t.out.events = append(t.out.events, node.Event{Kind: node.Gone, ID: hash})
}

func (t *tracker) forgetInputs(hash chainhash.Hash) {
	for _, spent := range t.inputs[hash] {
		if t.spent[spent] == hash {
			delete(t.spent, spent)
		}
	}
	delete(t.inputs, hash)
}

// settle ends a pending transaction, and judges the peer that announced it first by whether others confirmed it.
func (t *tracker) settle(hash chainhash.Hash, p *pending, confirmed bool) {
	delete(t.pending, hash)
	peer := t.peers[p.first]
	if peer == nil {
		return
	}
	peer.pending--
	peer.judged++
	if confirmed {
		peer.confirmed++
	} else {
		t.metrics.unconfirmed.WithLabelValues(strconv.Itoa(int(p.first))).Inc()
	}
	if peer.judged >= judgedAfter {
		if float64(peer.confirmed) < confirmedShare*float64(peer.judged) && !slices.Contains(t.out.drop, p.first) {
			t.out.drop = append(t.out.drop, p.first)
		}
		peer.judged, peer.confirmed = peer.judged/2, peer.confirmed/2 // older results count less
	}
}

// tick asks others for bodies that are late, ends what never got a quorum, and forgets what is older than the window.
func (t *tracker) tick(now time.Time, window time.Duration) {
	for hash, p := range t.pending {
		if p.asking && now.Sub(p.askedAt) >= bodyTimeout {
			p.asking = false
			t.metrics.late.Inc()
			t.ask(hash, p, now)
		}
		if now.Sub(p.since) >= pendingTimeout {
			t.settle(hash, p, false)
		}
	}
	t.forgetBefore(now, window)
}

// forgetBefore forgets counted transactions that are older than the window; all of them for 0. The engine has its own
// window, in which it recognises repeated ones.
func (t *tracker) forgetBefore(now time.Time, window time.Duration) {
	for hash, at := range t.counted {
		if now.Sub(at) > window {
			t.forgetInputs(hash)
			delete(t.counted, hash)
		}
	}
}
