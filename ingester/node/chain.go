package node

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/transcript"
)

// chain is the state of the node's blocks.
type chain struct {
	network         string
	initialDownload bool // the node is in its initial block download
	published       []bitcoind.Notification
	processed       map[chainhash.Hash]struct{} // blocks whose transactions were delivered
	walk            walk
	timeRequests    int           // requests for a block's time in flight
	changes         []blockChange // in the chain's order; the first is waiting for its block
	fetching        bool          // the block of the first change is being fetched

	vanished   map[chainhash.Hash]struct{} // left the mempool without a message: mined or removed
	orphans    map[chainhash.Hash]struct{} // transactions of disconnected blocks: in the mempool again, or removed
	orphanedAt time.Time
}

func newChain() chain {
	return chain{
		processed: make(map[chainhash.Hash]struct{}),
		vanished:  make(map[chainhash.Hash]struct{}),
		orphans:   make(map[chainhash.Hash]struct{}),
	}
}

const (
	// maxProcessed bounds the remembered blocks: two weeks of them.
	maxProcessed = 2000
	// maxTimeRequests bounds the blocks whose time is being fetched. A node that catches up connects more at once;
	// nearly all are older than the window.
	maxTimeRequests = 8
)

// confirm removes a block's transactions from the mempool. They were paid, so they remain evidence.
func (n *Node) confirm(m *message, ids []chainhash.Hash) {
	n.metrics.blocks.WithLabelValues(blockConnected).Inc()
	n.pool.confirm(ids)
	if n.sync.inSync && !n.sync.caughtUp() {
		n.resync(whyBlocks, m.at) // the block may be older than the list, and its transactions in the mempool again since
	}
	n.sync.record(m, append([]chainhash.Hash{}, ids...))
	n.chain.markProcessed(m.id, ids)
}

// markProcessed records that a block's transactions were delivered.
func (c *chain) markProcessed(block chainhash.Hash, ids []chainhash.Hash) {
	if len(c.processed) >= maxProcessed {
		clear(c.processed)
	}
	c.processed[block] = struct{}{}
	for _, id := range ids {
		delete(c.vanished, id)
		delete(c.orphans, id)
	}
}

// A blockChange is a block that connects or disconnects.
type blockChange struct {
	message  message
	ids      []chainhash.Hash // nil: to be fetched
	received bool             // its transactions came over ZMQ, complete as far as known
	unseen   []*wire.MsgTx    // if received: its transactions that did not come before the block
}

func (n *Node) handleConnected(m *message) {
	ids, txs, complete := n.assembler.finish()
	if complete && len(n.opts.ZMQ) == 1 { // two sockets have no common order
		n.queueChange(blockChange{message: *m, ids: ids, received: true, unseen: n.notReceived(ids, txs)})
		return
	}
	if n.hasRPC() {
		n.queueChange(blockChange{message: *m})
		return
	}
	n.confirm(m, ids)
	delete(n.chain.processed, m.id) // the walk fetches the rest once RPC works again
}

// handleDisconnected returns a block's transactions to the mempool. The node sends an A for those that it accepts
// again; the others are removed.
func (n *Node) handleDisconnected(m *message) {
	n.metrics.blocks.WithLabelValues(blockDisconnected).Inc()
	delete(n.chain.processed, m.id)
	c := blockChange{message: *m}
	if ids, _, complete := n.assembler.finish(); complete && len(n.opts.ZMQ) == 1 {
		c.ids = ids
	}
	n.queueChange(c)
}

// maxBlockChanges bounds the changes that wait for RPC: several reorganisations of the usual depth. A node that catches
// up sends more.
const maxBlockChanges = 16

// queueChange applies a change of the chain after all changes before it: one that waits for its block delays those
// after it. Otherwise a transaction in both a new and the disconnected block would be classified by the order of the
// RPC responses.
func (n *Node) queueChange(c blockChange) {
	queue := &n.chain.changes
	switch {
	case c.ids != nil && (len(*queue) == 0 || !n.hasRPC()):
		n.applyChange(&c)
	case !n.hasRPC(): // the block is incomplete and cannot be fetched
		delete(n.chain.processed, c.message.id)
		n.resync(whyBlocks, c.message.at)
	case n.chain.initialDownload || len(*queue) >= maxBlockChanges:
		// The list then says what is in the mempool, and the walk fetches the blocks of the window.
		delete(n.chain.processed, c.message.id)
		n.resync(whyBlocks, c.message.at)
	default:
		c.ids = slices.Clone(c.ids) // the assembler reuses its slice
		*queue = append(*queue, c)
		n.applyChanges()
	}
}

// applyChanges applies the waiting changes up to the first whose block has to be fetched.
func (n *Node) applyChanges() {
	c := &n.chain
	for len(c.changes) > 0 && !c.fetching {
		first := c.changes[0]
		if first.ids == nil {
			c.fetching = true
			n.requestBlock(first.message)
			return
		}
		c.changes = slices.Delete(c.changes, 0, 1)
		n.applyChange(&first)
	}
}

// requestBlock fetches the block of the first waiting change.
func (n *Node) requestBlock(m message) {
	wanted := all
	if m.letter == transcript.Disconnected {
		wanted = nothing
	}
	n.async(func(ctx context.Context) func() {
		s, err := n.fetchStep(ctx, m.id, wanted, m.at.Add(-n.opts.Window))
		if err == nil && s.ids == nil {
			s.ids, err = n.rpc.BlockIDs(ctx, m.id)
		}
		return func() {
			n.chain.changes, n.chain.fetching = slices.Delete(n.chain.changes, 0, 1), false
			if err != nil {
				n.logOnce(err)
				n.resync(whyBlocks, time.Now())
			} else {
				n.applyChange(&blockChange{message: m, ids: s.ids})
				if s.block != nil {
					n.queueBlockTransactions(s.block.Transactions, s.at)
				}
			}
			n.applyChanges()
		}
	})
}

// applyChange applies a change whose transactions are known.
func (n *Node) applyChange(c *blockChange) {
	m := &c.message
	if m.letter == transcript.Disconnected {
		delete(n.chain.processed, m.id)
		n.addOrphans(c.ids, m.at)
		return
	}
	n.confirm(m, c.ids)
	if c.received {
		n.requestBlockTime(m.id, len(c.ids), c.unseen, m.at)
	}
}

// notReceived returns a block's transactions whose bodies did not come before.
func (n *Node) notReceived(ids []chainhash.Hash, txs []*wire.MsgTx) (unseen []*wire.MsgTx) {
	for i, tx := range txs {
		if !n.pool.entries[ids[i]].received {
			unseen = append(unseen, tx)
		}
	}
	return unseen
}

// requestBlockTime delivers transactions that came with their block and not before. Their age is the block's, which may
// be days when the node catches up. Without RPC the age is unknown, and they are no evidence. The header also has the
// number of transactions: the last ones may be lost, which no counter shows before the next rawtx.
func (n *Node) requestBlockTime(block chainhash.Hash, received int, unseen []*wire.MsgTx, now time.Time) {
	switch {
	case !n.hasRPC() || n.chain.initialDownload:
		n.metrics.old.Add(float64(len(unseen)))
		delete(n.chain.processed, block) // a later walk finds those that are needed
		return
	case n.chain.timeRequests >= maxTimeRequests: // the node catches up: a walk from the tip finds the blocks that are needed
		delete(n.chain.processed, block)
		n.resync(whyBlocks, now)
		return
	}
	n.chain.timeRequests++
	n.async(func(ctx context.Context) func() {
		header, err := n.rpc.Header(ctx, block)
		return func() {
			n.chain.timeRequests--
			switch {
			case err != nil:
				n.logOnce(err)
			case header.Transactions != 0 && header.Transactions != received:
				n.log.Warn("block incomplete: fetching it", "block", block, "transactions", header.Transactions, "received", received)
			default:
				n.queueBlockTransactions(unseen, header.Time)
				return
			}
			delete(n.chain.processed, block)
			n.resync(whyBlocks, time.Now())
		}
	})
}

// queueBlockTransactions adds a block's transactions to the backlog if the block is within the window.
func (n *Node) queueBlockTransactions(txs []*wire.MsgTx, mined time.Time) {
	now := time.Now()
	if now.Sub(mined) > n.opts.Window {
		n.metrics.old.Add(float64(len(txs)))
		return
	}
	if mined.After(now) {
		mined = now // a miner's clock may be two hours ahead
	}
	for _, tx := range txs {
		n.backfill.backlog = append(n.backfill.backlog, fetched{tx: tx, at: mined})
	}
}

func idsOf(block *wire.MsgBlock) []chainhash.Hash {
	ids := make([]chainhash.Hash, len(block.Transactions))
	for i, tx := range block.Transactions {
		ids[i] = tx.TxHash()
	}
	return ids
}

func (n *Node) addOrphans(ids []chainhash.Hash, at time.Time) {
	for _, id := range ids {
		if !n.pool.entries[id].pooled {
			n.chain.orphans[id] = struct{}{}
		}
	}
	n.chain.orphanedAt = at
}

// reorgTimeout is how long a reorganisation may take from the last D to the last C.
const reorgTimeout = 10 * time.Second

// resolveOrphans removes transactions that a reorganisation left without a block and that are not in the mempool:
// payments that no longer exist. With RPC these are the ones in no block of the current chain: messages about the new
// blocks may be lost, or the walk may have passed the new blocks before the disconnected ones were known.
func (n *Node) resolveOrphans(now time.Time) {
	c := &n.chain
	if len(c.orphans) == 0 || len(c.changes) > 0 || now.Sub(c.orphanedAt) < reorgTimeout {
		return
	}
	if n.hasRPC() {
		maps.Copy(c.vanished, c.orphans)
		clear(c.orphans)
		c.walk = walk{} // a walk in progress has not looked for them
		n.resync(whyBlocks, now)
		return
	}
	for id := range n.chain.orphans {
		if !n.pool.entries[id].pooled {
			n.emit(Event{Kind: Gone, ID: id, At: now})
		}
	}
	clear(n.chain.orphans)
}
