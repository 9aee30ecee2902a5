package node

import (
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
	walk            *walk                       // nil: none
	walkFetching    bool                        // a block of this walk or of one before it is being fetched
	timeRequests    int                         // requests for a block's time in flight
	changes         []blockChange               // in the chain's order; the first is waiting for its block
	fetching        bool                        // the block of the first change is being fetched

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
func (t *tracker) confirm(m *message, ids []chainhash.Hash) {
	t.metrics.blocks.WithLabelValues(blockConnected).Inc()
	t.pool.confirm(ids)
	if t.sync.inSync && !t.sync.caughtUp() {
		t.resync(whyBlocks, m.at) // the block may be older than the list, and its transactions in the mempool again since
	}
	t.sync.record(m, append([]chainhash.Hash{}, ids...))
	t.chain.markProcessed(m.id, ids)
}

// markProcessed records that a block's transactions were delivered.
func (c *chain) markProcessed(block chainhash.Hash, ids []chainhash.Hash) {
	if len(c.processed) >= maxProcessed {
		clear(c.processed)
	}
	c.processed[block] = struct{}{}
	c.markMined(ids)
}

// markMined records that transactions are in a block of the chain.
func (c *chain) markMined(ids []chainhash.Hash) {
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

func (t *tracker) handleConnected(m *message) {
	ids, txs, complete := t.assembler.finish()
	if complete && len(t.opts.ZMQ) == 1 { // two sockets have no common order
		t.queueChange(blockChange{message: *m, ids: ids, received: true, unseen: t.notReceived(ids, txs)})
		return
	}
	if t.hasRPC() {
		t.queueChange(blockChange{message: *m})
		return
	}
	t.confirm(m, ids)
	delete(t.chain.processed, m.id) // the walk fetches the rest once RPC works again
}

// handleDisconnected returns a block's transactions to the mempool. The node sends an A for those that it accepts
// again; the others are removed.
func (t *tracker) handleDisconnected(m *message) {
	t.metrics.blocks.WithLabelValues(blockDisconnected).Inc()
	delete(t.chain.processed, m.id)
	c := blockChange{message: *m}
	if ids, _, complete := t.assembler.finish(); complete && len(t.opts.ZMQ) == 1 {
		c.ids = ids
	}
	t.queueChange(c)
}

// maxBlockChanges bounds the changes that wait for RPC: several reorganisations of the usual depth. A node that catches
// up sends more.
const maxBlockChanges = 16

// queueChange applies a change of the chain after all changes before it: one that waits for its block delays those
// after it. Otherwise a transaction in both a new and the disconnected block would be classified by the order of the
// RPC responses.
func (t *tracker) queueChange(c blockChange) {
	queue := &t.chain.changes
	switch {
	case c.ids != nil && (len(*queue) == 0 || !t.hasRPC()):
		t.applyChange(&c)
	case !t.hasRPC(): // the block is incomplete and cannot be fetched
		delete(t.chain.processed, c.message.id)
		t.resync(whyBlocks, c.message.at)
	case t.chain.initialDownload || len(*queue) >= maxBlockChanges:
		// The list then says what is in the mempool, and the walk fetches the blocks of the window.
		delete(t.chain.processed, c.message.id)
		t.resync(whyBlocks, c.message.at)
	default:
		c.ids = slices.Clone(c.ids) // the assembler reuses its slice
		*queue = append(*queue, c)
		t.applyChanges()
	}
}

// applyChanges applies the waiting changes up to the first whose block has to be fetched.
func (t *tracker) applyChanges() {
	c := &t.chain
	for len(c.changes) > 0 && !c.fetching {
		first := c.changes[0]
		if first.ids == nil {
			c.fetching = true
			wanted := all
			if first.message.letter == transcript.Disconnected {
				wanted = nothing
			}
			t.request(changeRequest{
				blockRequest: blockRequest{hash: first.message.id, wanted: wanted, oldest: first.message.at.Add(-t.opts.Window)},
				message:      first.message,
			})
			return
		}
		c.changes = slices.Delete(c.changes, 0, 1)
		t.applyChange(&first)
	}
}

// applyFetchedChange applies the first waiting change with its block.
func (t *tracker) applyFetchedChange(m message, b block, err error, now time.Time) {
	t.chain.changes, t.chain.fetching = slices.Delete(t.chain.changes, 0, 1), false
	if err != nil {
		t.logOnce(err)
		t.resync(whyBlocks, now)
	} else {
		t.applyChange(&blockChange{message: m, ids: b.ids})
		t.queueBlockTransactions(b.txs, b.at, now)
	}
	t.applyChanges()
}

// applyChange applies a change whose transactions are known.
func (t *tracker) applyChange(c *blockChange) {
	m := &c.message
	if m.letter == transcript.Disconnected {
		delete(t.chain.processed, m.id)
		t.addOrphans(c.ids, m.at)
		return
	}
	t.confirm(m, c.ids)
	if c.received {
		t.requestBlockTime(m.id, len(c.ids), c.unseen, m.at)
	}
}

// notReceived returns a block's transactions whose bodies did not come before.
func (t *tracker) notReceived(ids []chainhash.Hash, txs []*wire.MsgTx) (unseen []*wire.MsgTx) {
	for i, tx := range txs {
		if !t.pool.entries[ids[i]].received {
			unseen = append(unseen, tx)
		}
	}
	return unseen
}

// requestBlockTime delivers transactions that came with their block and not before. Their age is the block's, which may
// be days when the node catches up. Without RPC the age is unknown, and they are no evidence. The header also has the
// number of transactions: the last ones may be lost, which no counter shows before the next rawtx.
func (t *tracker) requestBlockTime(block chainhash.Hash, received int, unseen []*wire.MsgTx, now time.Time) {
	switch {
	case !t.hasRPC() || t.chain.initialDownload:
		t.metrics.old.Add(float64(len(unseen)))
		delete(t.chain.processed, block) // a later walk finds those that are needed
		return
	case t.chain.timeRequests >= maxTimeRequests: // the node catches up: a walk from the tip finds the blocks that are needed
		delete(t.chain.processed, block)
		t.resync(whyBlocks, now)
		return
	}
	t.chain.timeRequests++
	t.request(timeRequest{hash: block, received: received, unseen: unseen})
}

// applyTime delivers what requestBlockTime was called for.
func (t *tracker) applyTime(r timeRequest, header bitcoind.Header, err error, now time.Time) {
	t.chain.timeRequests--
	switch {
	case err != nil:
		t.logOnce(err)
	case header.Transactions != 0 && header.Transactions != r.received:
		t.log.Warn("block incomplete: fetching it", "block", r.hash, "transactions", header.Transactions, "received", r.received)
	default:
		t.queueBlockTransactions(r.unseen, header.Time, now)
		return
	}
	delete(t.chain.processed, r.hash)
	t.resync(whyBlocks, now)
}

// queueBlockTransactions adds a block's transactions to the backlog if the block is within the window.
func (t *tracker) queueBlockTransactions(txs []*wire.MsgTx, mined, now time.Time) {
	if now.Sub(mined) > t.opts.Window {
		t.metrics.old.Add(float64(len(txs)))
		return
	}
	if mined.After(now) {
		mined = now // a miner's clock may be two hours ahead
	}
	for _, tx := range txs {
		t.backfill.backlog = append(t.backfill.backlog, fetched{tx: tx, at: mined})
	}
}

func (t *tracker) addOrphans(ids []chainhash.Hash, at time.Time) {
	for _, id := range ids {
		if !t.pool.entries[id].pooled {
			t.chain.orphans[id] = struct{}{}
		}
	}
	t.chain.orphanedAt = at
}

// reorgTimeout is how long a reorganisation may take from the last D to the last C.
const reorgTimeout = 10 * time.Second

// resolveOrphans removes transactions that a reorganisation left without a block and that are not in the mempool:
// payments that no longer exist. With RPC these are the ones in no block of the current chain: messages about the new
// blocks may be lost, or the walk may have passed the new blocks before the disconnected ones were known.
func (t *tracker) resolveOrphans(now time.Time) {
	c := &t.chain
	if len(c.orphans) == 0 || len(c.changes) > 0 || now.Sub(c.orphanedAt) < reorgTimeout {
		return
	}
	if t.hasRPC() {
		maps.Copy(c.vanished, c.orphans)
		clear(c.orphans)
		c.walk = nil // a walk in progress has not looked for them
		t.resync(whyBlocks, now)
		return
	}
	for id := range t.chain.orphans {
		if !t.pool.entries[id].pooled {
			t.emit(Event{Kind: Gone, ID: id, At: now})
		}
	}
	clear(t.chain.orphans)
}
