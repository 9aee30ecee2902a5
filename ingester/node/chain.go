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

// chain is what is known of the node's blocks.
type chain struct {
	network         string
	initialDownload bool // the node is in its initial block download
	published       []bitcoind.Notification
	processed       map[chainhash.Hash]struct{} // blocks whose transactions were passed on
	walk            walk
	timeRequests    int           // blocks whose time is being asked for
	changes         []blockChange // that wait for one that is asked for, which is the first
	fetching        bool          // it is on its way

	vanished   map[chainhash.Hash]struct{} // left the mempool while nobody told: mined or gone
	orphans    map[chainhash.Hash]struct{} // of blocks that were disconnected: in the mempool again, or gone
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
	// mostDone bounds the memory of blocks: two weeks of them.
	maxProcessed = 2000
	// mostDating bounds the blocks that wait for their time. A node that catches up tells more at once; they are
	// older than the window, nearly all.
	maxTimeRequests = 8
)

// mined takes a block's transactions out of the mempool. They were paid, so they stay evidence.
func (n *Node) confirm(m *message, ids []chainhash.Hash) {
	n.metrics.blocks.WithLabelValues(blockConnected).Inc()
	n.pool.confirm(ids)
	if n.sync.inSync && !n.sync.caughtUp() {
		n.resync(whyBlocks, m.at) // it may be older than the list, and its transactions in the mempool again since
	}
	n.sync.record(m, append([]chainhash.Hash{}, ids...))
	n.chain.markProcessed(m.id, ids)
}

// pass notes that a block's transactions were passed on.
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
	ids      []chainhash.Hash // nil: to be asked for
	received bool             // it came whole, as far as is known
	unseen   []*wire.MsgTx    // its transactions that were never in the mempool here, if it was heard
}

func (n *Node) handleConnected(m *message) {
	ids, txs, whole := n.assembler.finish()
	if whole && len(n.opts.ZMQ) == 1 { // two sockets have no order between them
		n.queueChange(blockChange{message: *m, ids: ids, received: true, unseen: n.notReceived(ids, txs)})
		return
	}
	if n.hasRPC() {
		n.queueChange(blockChange{message: *m})
		return
	}
	n.confirm(m, ids)
	delete(n.chain.processed, m.id) // once RPC is back the walk has the rest of it
}

// disconnected gives a block's transactions back to the mempool. Those that can enter it are told by their A's; the
// others were paid no more.
func (n *Node) handleDisconnected(m *message) {
	n.metrics.blocks.WithLabelValues(blockDisconnected).Inc()
	delete(n.chain.processed, m.id)
	c := blockChange{message: *m}
	if ids, _, whole := n.assembler.finish(); whole && len(n.opts.ZMQ) == 1 {
		c.ids = ids
	}
	n.queueChange(c)
}

// mostChanges bounds the changes of the chain that wait for RPC: several reorganisations, as deep as they get. A node
// that catches up tells of more.
const maxBlockChanges = 16

// changeChain takes in a change of the chain once all before it are taken in: one that waits for its block holds up
// those after it. Otherwise a transaction that a new block has would be taken for one that the disconnected block alone
// had, or the other way round, as the answers come.
func (n *Node) queueChange(c blockChange) {
	waiting := &n.chain.changes
	switch {
	case c.ids != nil && (len(*waiting) == 0 || !n.hasRPC()):
		n.applyChange(&c)
	case !n.hasRPC(): // a block of which some is missing: nobody knows the rest
		delete(n.chain.processed, c.message.id)
		n.resync(whyBlocks, c.message.at)
	case n.chain.initialDownload || len(*waiting) >= maxBlockChanges:
		// The list then tells what is in the mempool, and a walk what is in the blocks that matter.
		delete(n.chain.processed, c.message.id)
		n.resync(whyBlocks, c.message.at)
	default:
		c.ids = slices.Clone(c.ids) // they are the run's
		*waiting = append(*waiting, c)
		n.applyChanges()
	}
}

// nextChange carries out the changes that wait until one of them has to be asked for.
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

// askBlock asks for the block of the first change that waits.
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

// carryOut takes in a change of which everything is known, and that comes next.
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

// unheard picks a block's transactions that were never in the mempool here.
func (n *Node) notReceived(ids []chainhash.Hash, txs []*wire.MsgTx) (fresh []*wire.MsgTx) {
	for i, tx := range txs {
		if !n.pool.entries[ids[i]].received {
			fresh = append(fresh, tx)
		}
	}
	return fresh
}

// date passes on transactions that came with a block and not before: they are as old as the block, which may be days
// when the node catches up. Without RPC nobody knows, and they are no evidence. With RPC the header also says how many
// transactions the block has: the last ones may be lost, which no message shows before the next rawtx.
func (n *Node) requestBlockTime(block chainhash.Hash, heard int, fresh []*wire.MsgTx, now time.Time) {
	switch {
	case !n.hasRPC() || n.chain.initialDownload:
		n.metrics.old.Add(float64(len(fresh)))
		delete(n.chain.processed, block) // a walk finds those that are of use, once there is one
		return
	case n.chain.timeRequests >= maxTimeRequests: // it catches up: a walk from the tip finds those that matter
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
			case header.Transactions != 0 && header.Transactions != heard:
				n.log.Warn("a block did not come whole: asking for it", "block", block, "transactions", header.Transactions, "came", heard)
			default:
				n.queueBlockTransactions(fresh, header.Time)
				return
			}
			delete(n.chain.processed, block)
			n.resync(whyBlocks, time.Now())
		}
	})
}

// passOn passes a block's transactions on, if they are of use.
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

// reorganised is how long a reorganisation may take from the last D to the last C.
const reorgTimeout = 10 * time.Second

// settleOrphans takes out what a reorganisation has left without a block and without a place in the mempool: a payment
// that was taken back. With RPC that is what no block of the chain has, as it is then: the messages of the new blocks may
// be lost, or walked over before the old ones are known.
func (n *Node) resolveOrphans(now time.Time) {
	c := &n.chain
	if len(c.orphans) == 0 || len(c.changes) > 0 || now.Sub(c.orphanedAt) < reorgTimeout {
		return
	}
	if n.hasRPC() {
		maps.Copy(c.vanished, c.orphans)
		clear(c.orphans)
		c.walk = walk{} // one that is half done has not looked for them
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
