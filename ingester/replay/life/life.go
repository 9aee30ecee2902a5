// Package life makes up the lives of bitcoind nodes, for tests: what a node that keeps the rules would publish over ZMQ
// while transactions come, are replaced and evicted, blocks connect, the chain reorganises and the node starts again.
// Now and then the node's own answer to getrawmempool is among it, from an account that is kept here and nowhere else.
package life

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/transcript"
)

// New makes a life of so many steps, each some lines, the same one for the same seed. It begins with the node's start
// and a block.
func New(seed uint64, steps int) []transcript.Line {
	l := Begin(seed)
	for range steps {
		l.step()
	}
	return l.Lines()
}

// A Life is one that a test makes up step by step.
type Life struct{ life }

// Begin makes a life of the node's start and a block.
func Begin(seed uint64) *Life {
	l := &Life{life{
		Rand:     rand.New(rand.NewPCG(seed, 0)),
		counters: make(map[string]uint32),
		seen:     make(map[chainhash.Hash]bool),
		next:     1,
	}}
	l.connect(l.mine())
	return l
}

// Lines are what was published and answered until now.
func (l *Life) Lines() []transcript.Line { return l.lines }

// Pay lets so many transactions into the mempool, a second apart.
func (l *Life) Pay(n int) {
	for range n {
		l.t++
		l.enter(l.newTx(l.outpoint()))
	}
}

// Mine connects a block with all of the mempool, and with so many transactions that nobody saw before.
func (l *Life) Mine(unseen int) {
	l.t++
	l.connect(l.mineOf(l.pool, unseen))
}

// Reorganise takes the newest block off and connects two. They have so many of its transactions, and contradict the
// others, so that these never come back.
func (l *Life) Reorganise(kept int) {
	l.t++
	old := l.disconnect(1)
	txs := slices.Clone(old[0].txs[1 : 1+kept])
	for _, tx := range old[0].txs[1+kept:] {
		txs = append(txs, l.newTx(tx.TxIn[0].PreviousOutPoint))
	}
	half := len(txs) / 2
	blocks := []*block{l.mineOf(txs[:half], 0), l.mineOf(txs[half:], 0)}
	for _, b := range blocks {
		l.takeOut(b)
	}
	for _, b := range blocks {
		l.tell(transcript.Connected, b)
	}
	l.tellTip()
}

// StartAgain starts the node again without its mempool.
func (l *Life) StartAgain() {
	l.t++
	clear(l.counters)
	l.pool, l.next, l.fresh = nil, 1, true
}

type life struct {
	*rand.Rand
	lines    []transcript.Line
	t        float64
	counters map[string]uint32 // what each topic's next notification carries
	pool     []*wire.MsgTx     // the mempool, in the order of arrival
	evicted  []*wire.MsgTx
	next     uint64   // the number that the mempool's next change takes
	chain    []*block // the active one, from firstHeight
	seen     map[chainhash.Hash]bool
	fresh    bool // since its start the node has published nothing, so that nobody can know of it
	made     uint64
}

type block struct {
	header wire.BlockHeader
	height int
	txs    []*wire.MsgTx // the coinbase first
}

// firstHeight is beyond the range that scripts have single opcodes for.
const firstHeight = 100

// step does one thing. The shares make a mempool of a few tens, and every rarer thing several times in some hundred
// steps.
func (l *life) step() {
	l.t += l.ExpFloat64()
	for _, way := range []struct {
		share float64
		do    func()
	}{
		{0.10, l.answer}, {0.10, l.replace}, {0.05, l.evict}, {0.06, l.extend}, {0.02, l.extendTwice},
		{0.03, l.reorganise}, {0.02, l.invalidate}, {0.01, l.restart}, {0.02, l.extendUnseen}, {1, l.add},
	} {
		if l.Float64() < way.share {
			way.do()
			return
		}
	}
}

// add lets a transaction in, now and then one that was evicted before.
func (l *life) add() {
	if last := len(l.evicted) - 1; last >= 0 && l.IntN(8) == 0 {
		tx := l.evicted[last]
		l.evicted = l.evicted[:last]
		if !inAny(tx, l.chain) && !l.contradicted(tx) {
			l.enter(tx)
			return
		}
	}
	l.enter(l.newTx(l.outpoint()))
}

// replace lets a transaction in that spends what one or two others do: those leave first, which takes numbers too.
func (l *life) replace() {
	old := l.some(min(len(l.pool), 1+l.IntN(2)))
	var inputs []wire.OutPoint
	for _, tx := range old {
		inputs = append(inputs, tx.TxIn[0].PreviousOutPoint)
		l.leave(tx)
	}
	l.enter(l.newTx(append(inputs, l.outpoint())...))
}

func (l *life) evict() {
	for _, tx := range l.some(min(len(l.pool), 1+l.IntN(3))) {
		l.leave(tx)
		l.evicted = append(l.evicted, tx)
	}
}

func (l *life) extend() { l.connect(l.mine()) }

// extendUnseen connects a block of which nobody saw anything before: it changes no number of the mempool's.
func (l *life) extendUnseen() { l.connect(l.mineOf(nil, 5+l.IntN(40))) }

func (l *life) extendTwice() {
	l.extend()
	l.extend()
}

// reorganise takes up to three blocks off and connects one more than that in one step. The order is ActivateBestChain's:
// the old blocks tell that they leave; the new ones change the mempool; what comes back into it tells so; and only then
// the new blocks tell that they are there.
func (l *life) reorganise() {
	old := l.disconnect(min(len(l.chain)-1, 1+l.IntN(3)))
	var blocks []*block
	for range len(old) + 1 {
		blocks = append(blocks, l.mine(old...))
	}
	for _, b := range blocks {
		l.takeOut(b)
	}
	l.comeBack(old, blocks)
	for _, b := range blocks {
		l.tell(transcript.Connected, b)
	}
	l.tellTip()
}

// invalidate takes a block off and puts none in its place, as the RPC of that name does.
func (l *life) invalidate() {
	l.comeBack(l.disconnect(min(len(l.chain)-1, 1)), nil)
}

// restart forgets all but the chain, and loads some of the mempool.
func (l *life) restart() {
	clear(l.counters)
	pool := l.pool
	l.pool, l.next, l.fresh = nil, 1, true
	for _, tx := range pool {
		if l.IntN(4) > 0 {
			l.enter(tx)
		}
	}
}

// answer is the node's to getrawmempool false true.
func (l *life) answer() {
	if l.fresh {
		return
	}
	ids := []chainhash.Hash{}
	for _, tx := range l.pool {
		ids = append(ids, tx.TxHash())
	}
	l.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	l.rpc("getrawmempool", []any{false, true}, map[string]any{"txids": ids, "mempool_sequence": l.next})
}

// enter lets tx into the mempool.
func (l *life) enter(tx *wire.MsgTx) {
	l.pool = append(l.pool, tx)
	l.zmq(transcript.TopicRawTx, serialise(tx))
	l.number(transcript.Added, tx)
}

// leave takes tx out of the mempool, other than by a block.
func (l *life) leave(tx *wire.MsgTx) {
	l.forget(tx)
	l.number(transcript.Removed, tx)
}

func (l *life) forget(tx *wire.MsgTx) bool {
	i := slices.Index(l.pool, tx)
	if i < 0 {
		return false
	}
	l.pool = slices.Delete(l.pool, i, i+1)
	return true
}

// number publishes a change of the mempool.
func (l *life) number(letter byte, tx *wire.MsgTx) {
	l.zmq(transcript.TopicSequence, transcript.Sequence{Hash: tx.TxHash(), Letter: letter, Number: l.next}.Body())
	l.next++
}

// connect is one step of the chain by one block.
func (l *life) connect(b *block) {
	l.takeOut(b)
	l.tell(transcript.Connected, b)
	l.tellTip()
}

// takeOut does what b does to the mempool: its transactions leave in silence, but each takes a number; what conflicts
// with them is published.
func (l *life) takeOut(b *block) {
	for _, tx := range b.txs[1:] {
		if l.forget(tx) {
			l.next++
		}
		for _, other := range slices.Clone(l.pool) {
			if conflict(tx, other) {
				l.leave(other)
			}
		}
	}
}

// disconnect takes n blocks off, the newest first.
func (l *life) disconnect(n int) []*block {
	var old []*block
	for range n {
		last := len(l.chain) - 1
		b := l.chain[last]
		l.chain = l.chain[:last]
		l.tell(transcript.Disconnected, b)
		old = append(old, b)
	}
	return old
}

// comeBack lets the transactions of blocks that left into the mempool again, but those that the new blocks have or
// contradict, and some that are not good any more. One that was in the mempool may leave, as no longer final.
func (l *life) comeBack(old, blocks []*block) {
	slices.Reverse(old)
	for _, b := range old {
		for _, tx := range b.txs[1:] {
			if l.IntN(8) > 0 && !inAny(tx, blocks) && !l.contradicted(tx) {
				l.enter(tx)
			}
		}
	}
	if l.IntN(3) == 0 {
		for _, tx := range l.some(min(len(l.pool), 1)) {
			l.leave(tx)
		}
	}
}

// inAny says whether one of the blocks has tx, or another that spends the same.
func inAny(tx *wire.MsgTx, blocks []*block) bool {
	for _, b := range blocks {
		if slices.ContainsFunc(b.txs, func(other *wire.MsgTx) bool { return conflict(tx, other) }) {
			return true
		}
	}
	return false
}

// contradicted says whether the mempool has tx, or another that spends the same.
func (l *life) contradicted(tx *wire.MsgTx) bool {
	return slices.ContainsFunc(l.pool, func(other *wire.MsgTx) bool { return conflict(tx, other) })
}

// conflict says whether a and b spend the same; so does a with itself.
func conflict(a, b *wire.MsgTx) bool {
	for _, in := range a.TxIn {
		for _, other := range b.TxIn {
			if in.PreviousOutPoint == other.PreviousOutPoint {
				return true
			}
		}
	}
	return false
}

// tell publishes all transactions of a block, and what becomes of it. For a new block the node is asked for its header.
func (l *life) tell(letter byte, b *block) {
	for _, tx := range b.txs {
		l.zmq(transcript.TopicRawTx, serialise(tx))
	}
	hash := b.header.BlockHash()
	l.zmq(transcript.TopicSequence, transcript.Sequence{Hash: hash, Letter: letter}.Body())
	if !l.seen[hash] {
		l.seen[hash] = true
		l.rpc("getblockheader", []any{hash}, b.answer())
	}
}

// answer is the node's to getblockheader.
func (b *block) answer() map[string]any {
	h := b.header
	return map[string]any{
		"hash": h.BlockHash(), "height": b.height, "version": h.Version, "merkleroot": h.MerkleRoot,
		"time": h.Timestamp.Unix(), "nonce": h.Nonce, "bits": fmt.Sprintf("%08x", h.Bits),
		"previousblockhash": h.PrevBlock, "nTx": len(b.txs),
	}
}

func (l *life) tellTip() {
	hash := l.chain[len(l.chain)-1].header.BlockHash()
	slices.Reverse(hash[:])
	l.zmq(transcript.TopicHashBlock, hash[:])
}

// some picks n transactions of the mempool.
func (l *life) some(n int) []*wire.MsgTx {
	var picked []*wire.MsgTx
	for _, i := range l.Perm(len(l.pool))[:n] {
		picked = append(picked, l.pool[i])
	}
	return picked
}

func (l *life) zmq(topic string, body []byte) {
	l.t += 0.0001
	l.lines = append(l.lines, transcript.Line{T: l.t, Topic: topic, Body: body, Counter: l.counters[topic]})
	l.counters[topic]++
	l.fresh = false
}

func (l *life) rpc(method string, params []any, result any) {
	l.t += 0.0001
	l.lines = append(l.lines, transcript.Line{T: l.t, Method: method, Params: mustJSON(params), Result: mustJSON(result)})
}

func mustJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // hashes, numbers and text
	}
	return raw
}
