package node

import (
	"context"
	"errors"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/bitcoind"
)

// chain is what is known of the node's blocks.
type chain struct {
	network   string
	behind    bool // the node is in its initial block download
	published []bitcoind.Notification
	done      map[chainhash.Hash]struct{} // blocks whose transactions were passed on
	walk      walk
	dating    int // blocks whose time is being asked for

	vanished   map[chainhash.Hash]struct{} // left the mempool while nobody told: mined or gone
	orphans    map[chainhash.Hash]struct{} // of blocks that were disconnected: in the mempool again, or gone
	orphanedAt time.Time
}

// walk goes back from the tip through the blocks of the window.
type walk struct {
	next   chainhash.Hash
	active bool
	asking bool
	steps  int
	retry  time.Time
}

func newChain() chain {
	return chain{
		done:     make(map[chainhash.Hash]struct{}),
		vanished: make(map[chainhash.Hash]struct{}),
		orphans:  make(map[chainhash.Hash]struct{}),
	}
}

const (
	// mostDone bounds the memory of blocks: two weeks of them.
	mostDone = 2000
	// mostSteps bounds a walk: the blocks of 24 h, the longest window, three times over.
	mostSteps = 500
	// mostDating bounds the blocks that wait for their time. A node that catches up tells more at once; they are
	// older than the window, nearly all.
	mostDating = 8
)

func (c *chain) publishes(topic string) bool {
	for _, p := range c.published {
		if p.Topic == topic {
			return true
		}
	}
	return false
}

// mined takes a block's transactions out of the mempool. They were paid, so they stay evidence.
func (n *Node) mined(m *message, ids []chainhash.Hash) {
	n.metrics.blocks.WithLabelValues("connected").Inc()
	n.pool.mine(ids)
	if n.sync.inStep && !n.sync.caughtUp() {
		n.resync("blocks", m.at) // it may be older than the list, and its transactions in the mempool again since
	}
	n.sync.note(m, append([]chainhash.Hash{}, ids...))
	n.chain.pass(m.id, ids)
}

// pass notes that a block's transactions were passed on.
func (c *chain) pass(block chainhash.Hash, ids []chainhash.Hash) {
	if len(c.done) >= mostDone {
		clear(c.done)
	}
	c.done[block] = struct{}{}
	for _, id := range ids {
		delete(c.vanished, id)
		delete(c.orphans, id)
	}
}

func (n *Node) connected(m *message) {
	ids, txs, whole := n.run.end()
	switch {
	case whole && len(n.opts.ZMQ) == 1: // two sockets have no order between them
		n.run.ended = m
		fresh := n.unheard(ids, txs)
		n.mined(m, ids)
		n.date(m.id, fresh, m.at)
	case n.rpc != nil:
		n.askBlock(*m)
	default:
		n.mined(m, ids)
	}
}

// unheard picks a block's transactions that were never in the mempool here.
func (n *Node) unheard(ids []chainhash.Hash, txs []*wire.MsgTx) (fresh []*wire.MsgTx) {
	for i, tx := range txs {
		if !n.pool.marks[ids[i]].heard {
			fresh = append(fresh, tx)
		}
	}
	return fresh
}

// date passes on transactions that came with a block and not before: they are as old as the block, which may be days
// when the node catches up. Without RPC nobody knows, and they are no evidence.
func (n *Node) date(block chainhash.Hash, fresh []*wire.MsgTx, now time.Time) {
	switch {
	case len(fresh) == 0:
		return
	case n.rpc == nil || n.chain.behind:
		n.metrics.passedOver.Add(float64(len(fresh)))
		return
	case n.chain.dating >= mostDating: // it catches up: a walk from the tip finds those that matter
		delete(n.chain.done, block)
		n.resync("blocks", now)
		return
	}
	n.chain.dating++
	n.question(func(ctx context.Context) func() {
		header, err := n.rpc.Header(ctx, block)
		return func() {
			n.chain.dating--
			if err != nil {
				n.complain(err)
				delete(n.chain.done, block)
				n.resync("blocks", time.Now())
				return
			}
			n.passOn(fresh, header.Time)
		}
	})
}

// passOn passes a block's transactions on, if they are of use.
func (n *Node) passOn(txs []*wire.MsgTx, mined time.Time) {
	now := time.Now()
	if now.Sub(mined) > n.opts.Window {
		n.metrics.passedOver.Add(float64(len(txs)))
		return
	}
	if mined.After(now) {
		mined = now // a miner's clock may be two hours ahead
	}
	for _, tx := range txs {
		n.fill.backlog = append(n.fill.backlog, fetched{tx: tx, at: mined})
	}
}

// askBlock asks for a block whose transactions did not all come.
func (n *Node) askBlock(m message) {
	if n.rpc == nil {
		return
	}
	n.question(func(ctx context.Context) func() {
		s, err := n.getStep(ctx, m.id, all, time.Time{})
		return func() {
			if err != nil {
				n.complain(err)
				n.resync("blocks", time.Now())
				return
			}
			n.mined(&m, s.ids)
			n.passOn(s.block.Transactions, s.at)
		}
	})
}

func idsOf(block *wire.MsgBlock) []chainhash.Hash {
	ids := make([]chainhash.Hash, len(block.Transactions))
	for i, tx := range block.Transactions {
		ids[i] = tx.TxHash()
	}
	return ids
}

// disconnected gives a block's transactions back to the mempool. Those that can enter it are told by their A's; the
// others were paid no more.
func (n *Node) disconnected(m *message) {
	n.metrics.blocks.WithLabelValues("disconnected").Inc()
	delete(n.chain.done, m.id)
	ids, _, whole := n.run.end()
	switch {
	case whole && len(n.opts.ZMQ) == 1:
		n.orphan(ids, m.at)
	case n.rpc != nil:
		at := m.at
		hash := m.id
		n.question(func(ctx context.Context) func() {
			ids, err := n.rpc.BlockIDs(ctx, hash)
			return func() {
				if err != nil {
					n.complain(err)
					return
				}
				n.orphan(ids, at)
			}
		})
	}
}

func (n *Node) orphan(ids []chainhash.Hash, at time.Time) {
	for _, id := range ids {
		if !n.pool.marks[id].pooled {
			n.chain.orphans[id] = struct{}{}
		}
	}
	n.chain.orphanedAt = at
}

// reorganised is how long a reorganisation may take from the last D to the last C.
const reorganised = 10 * time.Second

// settleOrphans takes out what a reorganisation has left without a block and without a place in the mempool: a payment
// that was taken back.
func (n *Node) settleOrphans(now time.Time) {
	if len(n.chain.orphans) == 0 || now.Sub(n.chain.orphanedAt) < reorganised {
		return
	}
	for id := range n.chain.orphans {
		if !n.pool.marks[id].pooled {
			n.emit(Event{Kind: Gone, ID: id, At: now})
		}
	}
	clear(n.chain.orphans)
}

// askWalk takes the next step back from the tip: for a block that is new here all of it, for another its header.
func (n *Node) askWalk(now time.Time) {
	w := &n.chain.walk
	if !w.active || w.asking || len(n.fill.backlog) > mostBacklog || now.Before(w.retry) {
		return
	}
	w.asking = true
	hash, oldest := w.next, now.Add(-n.opts.Window)
	part := all
	if _, done := n.chain.done[hash]; done {
		part = nothing
		if len(n.chain.vanished) > 0 {
			part = onlyIDs
		}
	}
	n.question(func(ctx context.Context) func() {
		s, err := n.getStep(ctx, hash, part, oldest)
		return func() { n.stepped(hash, s, err) }
	})
}

// step is what a walk learns of one block.
type step struct {
	previous chainhash.Hash
	at       time.Time
	block    *wire.MsgBlock // nil if it is not wanted, or too old
	ids      []chainhash.Hash
}

// part is how much of a block is wanted, beside its header.
type part uint8

const (
	nothing part = iota
	onlyIDs      // which transactions it has
	all
)

// getStep asks for a block's header, and for what is wanted of the block if it is not older than a time.
func (n *Node) getStep(ctx context.Context, hash chainhash.Hash, wanted part, oldest time.Time) (s step, err error) {
	h, err := n.rpc.Header(ctx, hash)
	if err != nil {
		return s, err
	}
	s.previous, s.at = h.Previous, h.Time
	switch {
	case h.Time.Before(oldest):
	case wanted == onlyIDs:
		s.ids, err = n.rpc.BlockIDs(ctx, hash)
	case wanted == all:
		if s.block, err = n.rpc.Block(ctx, hash); err == nil {
			s.ids = idsOf(s.block)
		}
	}
	return s, err
}

func (n *Node) stepped(hash chainhash.Hash, s step, err error) {
	w, now := &n.chain.walk, time.Now()
	w.asking = false
	switch {
	case w.next != hash: // a newer walk has begun meanwhile
		return
	case errors.Is(err, bitcoind.ErrPruned):
		n.complain(err)
		n.chain.walk = walk{}
		clear(n.chain.vanished) // they may have been mined there, so they stay evidence
		return
	case errors.Is(err, bitcoind.ErrNotFound): // the chain is another one by now
		n.chain.walk = walk{}
		n.sync.want(afterRetry(now))
		return
	case err != nil:
		n.complain(err)
		w.retry = afterRetry(now)
		return
	}
	if s.ids != nil {
		n.chain.pass(hash, s.ids)
	}
	if s.block != nil {
		n.passOn(s.block.Transactions, s.at)
		n.fill.blocks++
	}
	w.next, w.steps = s.previous, w.steps+1
	if now.Sub(s.at) > n.opts.Window || s.previous == (chainhash.Hash{}) || w.steps >= mostSteps {
		n.endWalk(now)
	}
}

// endWalk: what vanished and is in none of the window's blocks was removed, or is too old to matter.
func (n *Node) endWalk(now time.Time) {
	n.chain.walk = walk{}
	for id := range n.chain.vanished {
		n.emit(Event{Kind: Gone, ID: id, At: now})
	}
	clear(n.chain.vanished)
}

// answered takes in what came with the node's list.
func (n *Node) answered(l list, now time.Time) {
	clear(n.sync.told)
	c := &n.chain
	if l.published != nil {
		c.published = l.published
		n.warnOfTopics()
	}
	if c.network != l.chain.Network {
		c.network = l.chain.Network
		n.log.Info("the node's chain", "network", c.network, "blocks", l.chain.Blocks)
		if c.network != mainnet {
			n.log.Warn("a price means something on mainnet only: on this network coins are given away", "network", c.network)
		}
	}
	if behind := l.chain.InitialBlockDownload; behind != c.behind {
		c.behind = behind
		n.log.Info("initial block download", "running", behind, "blocks", l.chain.Blocks, "headers", l.chain.Headers)
	}
	if c.behind {
		n.sync.want(now.Add(behindEvery))
	}
}

// mainnet is what bitcoind calls it.
const mainnet = "main"

// behindEvery is how often a node that catches up is asked whether it has.
const behindEvery = 10 * time.Second

// warnOfTopics says which setting of the node is missing.
func (n *Node) warnOfTopics() {
	for _, topic := range []string{TopicRawTx, TopicSequence} {
		if !n.chain.publishes(topic) {
			n.log.Warn("the node does not publish a topic: add it to bitcoin.conf and restart the node",
				"missing", topic, "setting", "zmqpub"+topic+"="+n.opts.ZMQ[0])
		}
	}
}

// isStarting reports whether an error is a node's that has only begun.
func isStarting(err error) bool { return errors.Is(err, bitcoind.ErrWarmingUp) }
