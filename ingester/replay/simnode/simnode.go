// Package simnode simulates bitcoind nodes, for tests: the ZMQ notifications of a correct node while transactions
// arrive, are replaced and evicted, blocks connect, the chain reorganises and the node restarts. From time to time it
// adds the node's response to getrawmempool, from a mempool that is tracked here independently.
package simnode

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/transcript"
)

// Lines returns the lines of a simulation of the given number of steps, each of some lines. A seed always gives the
// same lines. They start with the node's start and a block.
func Lines(seed uint64, steps int) []transcript.Line {
	s := New(seed)
	for range steps {
		s.step()
	}
	return s.Lines()
}

// A Node is a simulation that a test controls step by step.
type Node struct{ state }

// New returns a Node that has started and mined a block.
func New(seed uint64) *Node {
	s := &Node{state{
		Rand:     rand.New(rand.NewPCG(seed, 0)),
		counters: make(map[string]uint32),
		seen:     make(map[chainhash.Hash]bool),
		next:     1,
	}}
	s.connect(s.mine())
	return s
}

// Lines returns what was published and recorded so far.
func (s *Node) Lines() []transcript.Line { return s.lines }

// Pay adds n transactions to the mempool, a second apart.
func (s *Node) Pay(n int) {
	for range n {
		s.t++
		s.enter(s.newTx(s.outpoint()))
	}
}

// Mine connects a block with all of the mempool, and with unseen transactions that were not published before.
func (s *Node) Mine(unseen int) {
	s.t++
	s.connect(s.mineOf(s.pool, unseen))
}

// Reorganise disconnects the newest block and connects two. They contain kept of its transactions, and conflict with
// the others, so that these never return.
func (s *Node) Reorganise(kept int) {
	s.t++
	old := s.disconnect(1)
	txs := slices.Clone(old[0].txs[1 : 1+kept])
	for _, tx := range old[0].txs[1+kept:] {
		txs = append(txs, s.newTx(tx.TxIn[0].PreviousOutPoint))
	}
	half := len(txs) / 2
	blocks := []*block{s.mineOf(txs[:half], 0), s.mineOf(txs[half:], 0)}
	for _, b := range blocks {
		s.applyBlock(b)
	}
	for _, b := range blocks {
		s.publish(transcript.Connected, b)
	}
	s.publishTip()
}

// Restart restarts the node without its mempool.
func (s *Node) Restart() {
	s.t++
	clear(s.counters)
	s.pool, s.next, s.unpublished = nil, 1, true
}

type state struct {
	*rand.Rand
	lines       []transcript.Line
	t           float64
	counters    map[string]uint32 // the next counter of each topic
	pool        []*wire.MsgTx     // the mempool, in the order of arrival
	evicted     []*wire.MsgTx
	next        uint64   // the number of the mempool's next change
	chain       []*block // the active chain, from firstHeight
	seen        map[chainhash.Hash]bool
	unpublished bool // the node has published nothing since its start, so a restart cannot be seen
	made        uint64
}

type block struct {
	header wire.BlockHeader
	height int
	txs    []*wire.MsgTx // the coinbase first
}

// firstHeight is beyond the heights that scripts have single opcodes for.
const firstHeight = 100

// step does one thing. The shares give a mempool of a few tens, and every rarer event several times in some hundred
// steps.
func (s *state) step() {
	s.t += s.ExpFloat64()
	for _, way := range []struct {
		share float64
		do    func()
	}{
		{0.10, s.respondMempool}, {0.10, s.replace}, {0.05, s.evict}, {0.06, s.extend}, {0.02, s.extendTwice},
		{0.03, s.reorganise}, {0.02, s.invalidate}, {0.01, s.restart}, {0.02, s.extendUnseen}, {1, s.add},
	} {
		if s.Float64() < way.share {
			way.do()
			return
		}
	}
}

// add adds a transaction to the mempool, sometimes one that was evicted before.
func (s *state) add() {
	if last := len(s.evicted) - 1; last >= 0 && s.IntN(8) == 0 {
		tx := s.evicted[last]
		s.evicted = s.evicted[:last]
		if !inAny(tx, s.chain) && !s.conflictsWithPool(tx) {
			s.enter(tx)
			return
		}
	}
	s.enter(s.newTx(s.outpoint()))
}

// replace adds a transaction that spends the inputs of one or two others. Those are removed first, which takes numbers
// too.
func (s *state) replace() {
	old := s.pick(min(len(s.pool), 1+s.IntN(2)))
	var inputs []wire.OutPoint
	for _, tx := range old {
		inputs = append(inputs, tx.TxIn[0].PreviousOutPoint)
		s.remove(tx)
	}
	s.enter(s.newTx(append(inputs, s.outpoint())...))
}

func (s *state) evict() {
	for _, tx := range s.pick(min(len(s.pool), 1+s.IntN(3))) {
		s.remove(tx)
		s.evicted = append(s.evicted, tx)
	}
}

func (s *state) extend() { s.connect(s.mine()) }

// extendUnseen connects a block of transactions that were not published before: it changes no number of the mempool.
func (s *state) extendUnseen() { s.connect(s.mineOf(nil, 5+s.IntN(40))) }

func (s *state) extendTwice() {
	s.extend()
	s.extend()
}

// reorganise disconnects up to three blocks and connects one more than that in one step, in the order of
// ActivateBestChain: the old blocks are published as disconnected; the new ones change the mempool; transactions that
// return to it are published; and then the new blocks are published.
func (s *state) reorganise() {
	old := s.disconnect(min(len(s.chain)-1, 1+s.IntN(3)))
	var blocks []*block
	for range len(old) + 1 {
		blocks = append(blocks, s.mine(old...))
	}
	for _, b := range blocks {
		s.applyBlock(b)
	}
	s.readmit(old, blocks)
	for _, b := range blocks {
		s.publish(transcript.Connected, b)
	}
	s.publishTip()
}

// invalidate disconnects a block without a replacement, as the RPC of that name does.
func (s *state) invalidate() {
	s.readmit(s.disconnect(min(len(s.chain)-1, 1)), nil)
}

// restart keeps only the chain, and loads some of the mempool.
func (s *state) restart() {
	clear(s.counters)
	pool := s.pool
	s.pool, s.next, s.unpublished = nil, 1, true
	for _, tx := range pool {
		if s.IntN(4) > 0 {
			s.enter(tx)
		}
	}
}

// respondMempool records the response to getrawmempool false true.
func (s *state) respondMempool() {
	if s.unpublished {
		return
	}
	ids := []chainhash.Hash{}
	for _, tx := range s.pool {
		ids = append(ids, tx.TxHash())
	}
	s.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	s.rpc("getrawmempool", []any{false, true}, map[string]any{"txids": ids, "mempool_sequence": s.next})
}

// enter adds tx to the mempool.
func (s *state) enter(tx *wire.MsgTx) {
	s.pool = append(s.pool, tx)
	s.zmq(transcript.TopicRawTx, serialise(tx))
	s.publishChange(transcript.Added, tx)
}

// remove removes tx from the mempool, other than by a block.
func (s *state) remove(tx *wire.MsgTx) {
	s.deleteFromPool(tx)
	s.publishChange(transcript.Removed, tx)
}

func (s *state) deleteFromPool(tx *wire.MsgTx) bool {
	i := slices.Index(s.pool, tx)
	if i < 0 {
		return false
	}
	s.pool = slices.Delete(s.pool, i, i+1)
	return true
}

// publishChange publishes a change of the mempool.
func (s *state) publishChange(letter byte, tx *wire.MsgTx) {
	s.zmq(transcript.TopicSequence, transcript.Sequence{Hash: tx.TxHash(), Letter: letter, Number: s.next}.Body())
	s.next++
}

// connect is one step of the chain by one block.
func (s *state) connect(b *block) {
	s.applyBlock(b)
	s.publish(transcript.Connected, b)
	s.publishTip()
}

// applyBlock applies b to the mempool: its transactions leave without a notification, but each takes a number; removals
// of conflicting transactions are published.
func (s *state) applyBlock(b *block) {
	for _, tx := range b.txs[1:] {
		if s.deleteFromPool(tx) {
			s.next++
		}
		for _, other := range slices.Clone(s.pool) {
			if conflict(tx, other) {
				s.remove(other)
			}
		}
	}
}

// disconnect disconnects n blocks, the newest first.
func (s *state) disconnect(n int) []*block {
	var old []*block
	for range n {
		last := len(s.chain) - 1
		b := s.chain[last]
		s.chain = s.chain[:last]
		s.publish(transcript.Disconnected, b)
		old = append(old, b)
	}
	return old
}

// readmit returns the transactions of disconnected blocks to the mempool, except those that the new blocks have or
// conflict with, and some that are no longer valid. One that was in the mempool may be removed, as no longer final.
func (s *state) readmit(old, blocks []*block) {
	slices.Reverse(old)
	for _, b := range old {
		for _, tx := range b.txs[1:] {
			if s.IntN(8) > 0 && !inAny(tx, blocks) && !s.conflictsWithPool(tx) {
				s.enter(tx)
			}
		}
	}
	if s.IntN(3) == 0 {
		for _, tx := range s.pick(min(len(s.pool), 1)) {
			s.remove(tx)
		}
	}
}

// inAny reports whether one of the blocks has tx, or another that spends the same output.
func inAny(tx *wire.MsgTx, blocks []*block) bool {
	for _, b := range blocks {
		if slices.ContainsFunc(b.txs, func(other *wire.MsgTx) bool { return conflict(tx, other) }) {
			return true
		}
	}
	return false
}

// conflictsWithPool reports whether the mempool has tx, or another that spends the same output.
func (s *state) conflictsWithPool(tx *wire.MsgTx) bool {
	return slices.ContainsFunc(s.pool, func(other *wire.MsgTx) bool { return conflict(tx, other) })
}

// conflict reports whether a and b spend the same output; a conflicts with itself.
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

// publish publishes all transactions of a block and its connection or disconnection. For a new block it records the
// response to getblockheader.
func (s *state) publish(letter byte, b *block) {
	for _, tx := range b.txs {
		s.zmq(transcript.TopicRawTx, serialise(tx))
	}
	hash := b.header.BlockHash()
	s.zmq(transcript.TopicSequence, transcript.Sequence{Hash: hash, Letter: letter}.Body())
	if !s.seen[hash] {
		s.seen[hash] = true
		s.rpc("getblockheader", []any{hash}, b.headerResponse())
	}
}

// headerResponse returns the response to getblockheader.
func (b *block) headerResponse() map[string]any {
	h := b.header
	return map[string]any{
		"hash": h.BlockHash(), "height": b.height, "version": h.Version, "merkleroot": h.MerkleRoot,
		"time": h.Timestamp.Unix(), "nonce": h.Nonce, "bits": fmt.Sprintf("%08x", h.Bits),
		"previousblockhash": h.PrevBlock, "nTx": len(b.txs),
	}
}

func (s *state) publishTip() {
	hash := s.chain[len(s.chain)-1].header.BlockHash()
	slices.Reverse(hash[:])
	s.zmq(transcript.TopicHashBlock, hash[:])
}

// pick returns n transactions of the mempool.
func (s *state) pick(n int) []*wire.MsgTx {
	var picked []*wire.MsgTx
	for _, i := range s.Perm(len(s.pool))[:n] {
		picked = append(picked, s.pool[i])
	}
	return picked
}

func (s *state) zmq(topic string, body []byte) {
	s.t += 0.0001
	s.lines = append(s.lines, transcript.Line{T: s.t, Topic: topic, Body: body, Counter: s.counters[topic]})
	s.counters[topic]++
	s.unpublished = false
}

func (s *state) rpc(method string, params []any, result any) {
	s.t += 0.0001
	s.lines = append(s.lines, transcript.Line{T: s.t, Method: method, Params: mustJSON(params), Result: mustJSON(result)})
}

func mustJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // hashes, numbers and text
	}
	return raw
}
