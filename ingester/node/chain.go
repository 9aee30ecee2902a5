package node

import (
	"context"
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
	asking    int // blocks that are being asked for whole

	vanished   map[chainhash.Hash]struct{} // left the mempool while nobody told: mined or gone
	orphans    map[chainhash.Hash]struct{} // of blocks that were disconnected: in the mempool again, or gone
	orphanedAt time.Time
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
	// mostDating bounds the blocks that wait for their time. A node that catches up tells more at once; they are
	// older than the window, nearly all.
	mostDating = 8
)

// mined takes a block's transactions out of the mempool. They were paid, so they stay evidence.
func (n *Node) mined(m *message, ids []chainhash.Hash) {
	n.metrics.blocks.WithLabelValues(blockConnected).Inc()
	n.pool.mine(ids)
	if n.sync.inStep && !n.sync.caughtUp() {
		n.resync(whyBlocks, m.at) // it may be older than the list, and its transactions in the mempool again since
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
		n.resync(whyBlocks, now)
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
				n.resync(whyBlocks, time.Now())
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

// askBlock asks for a block whose transactions did not all come. A node that catches up tells many: then the list tells
// what is in the mempool, and a walk what is in the blocks that matter.
func (n *Node) askBlock(m message) {
	switch {
	case n.rpc == nil:
		return
	case n.chain.behind || n.chain.asking >= mostDating:
		n.resync(whyBlocks, m.at)
		return
	}
	n.chain.asking++
	n.question(func(ctx context.Context) func() {
		s, err := n.getStep(ctx, m.id, all, m.at.Add(-n.opts.Window))
		if err == nil && s.ids == nil {
			s.ids, err = n.rpc.BlockIDs(ctx, m.id)
		}
		return func() {
			n.chain.asking--
			if err != nil {
				n.complain(err)
				n.resync(whyBlocks, time.Now())
				return
			}
			n.mined(&m, s.ids)
			if s.block != nil {
				n.passOn(s.block.Transactions, s.at)
			}
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
	n.metrics.blocks.WithLabelValues(blockDisconnected).Inc()
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
