package node

import (
	"context"
	"errors"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/bitcoind"
)

// walk goes back from the tip through the blocks of the window.
type walk struct {
	next     chainhash.Hash
	active   bool
	fetching bool
	steps    int
	retry    time.Time
}

// maxSteps bounds a walk: the blocks of the window, about 18, many times over.
const maxSteps = 500

// requestWalkStep requests the next block back from the tip: all of a block that was not processed yet, the header of
// another.
func (n *Node) requestWalkStep(now time.Time) {
	w := &n.chain.walk
	if !w.active || w.fetching || len(n.backfill.backlog) > maxBacklog || now.Before(w.retry) {
		return
	}
	w.fetching = true
	hash, oldest := w.next, now.Add(-n.opts.Window)
	part := all
	if _, processed := n.chain.processed[hash]; processed {
		part = nothing
		if len(n.chain.vanished) > 0 {
			part = onlyIDs
		}
	}
	n.async(func(ctx context.Context) func() {
		s, err := n.fetchStep(ctx, hash, part, oldest)
		return func() { n.applyStep(hash, s, err) }
	})
}

// step is what a walk learns of one block.
type step struct {
	previous chainhash.Hash
	at       time.Time
	block    *wire.MsgBlock // nil if it is not wanted, or too old
	ids      []chainhash.Hash
}

// part is how much of a block is wanted, besides its header.
type part uint8

const (
	nothing part = iota
	onlyIDs      // the IDs of its transactions
	all
)

// fetchStep fetches a block's header, and the wanted part of the block unless the block is older than oldest. With an
// error about the block itself the step has its header, and its IDs if they could be fetched.
func (n *Node) fetchStep(ctx context.Context, hash chainhash.Hash, wanted part, oldest time.Time) (s step, err error) {
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
		} else if bitcoind.AboutOne(err) {
			s.ids, _ = n.rpc.BlockIDs(ctx, hash) // nil if this fails too; skipBlock decides what follows from that
		}
	}
	return s, err
}

func (n *Node) applyStep(hash chainhash.Hash, s step, err error) {
	w, now := &n.chain.walk, time.Now()
	w.fetching = false
	noteFetch(&n.sync.rpc.blocksFailingSince, err, now)
	switch {
	case w.next != hash: // a newer walk has started
		return
	case errors.Is(err, bitcoind.ErrPruned):
		n.logOnce(err)
		n.chain.walk = walk{}
		clear(n.chain.vanished) // they may have been mined there, so they remain evidence
		return
	case errors.Is(err, bitcoind.ErrNotFound) && s.at.IsZero(): // the chain has changed
		n.chain.walk = walk{}
		n.sync.schedule(retryTime(now))
		return
	case err != nil:
		n.logOnce(err)
		// Without its header the step cannot continue. Headers are in the node's memory: an error about one is about
		// the node.
		if s.at.IsZero() || !bitcoind.AboutOne(err) || !n.backfill.failBlock(hash) {
			w.retry = retryTime(now)
			return
		}
		n.skipBlock(hash, s.ids, err)
	default:
		n.chain.markProcessed(hash, s.ids) // one that is too old, too: it is known
	}
	if s.block != nil {
		n.queueBlockTransactions(s.block.Transactions, s.at)
		n.backfill.blocks++
	}
	w.next, w.steps = s.previous, w.steps+1
	if now.Sub(s.at) > n.opts.Window || s.previous == (chainhash.Hash{}) || w.steps >= maxSteps {
		n.endWalk(now)
	}
}

// skipBlock continues without a block that RPC does not return, or returns as bytes that are no block. It is not
// fetched again. Payments that came only with this block are lost. If its IDs are unknown too, so is which of the
// vanished transactions were mined; those remain evidence.
func (n *Node) skipBlock(hash chainhash.Hash, ids []chainhash.Hash, err error) {
	n.metrics.unread.Inc()
	n.log.Warn("skipped a block that could not be fetched", "block", hash, "tries", triesPerBackfill, "err", err)
	n.chain.markProcessed(hash, ids)
	if ids == nil {
		clear(n.chain.vanished)
	}
}

// endWalk removes what vanished and is in none of the window's blocks: it was removed from the mempool, or is too old
// to matter.
func (n *Node) endWalk(now time.Time) {
	n.chain.walk = walk{}
	for id := range n.chain.vanished {
		if n.pool.entries[id].pooled {
			continue // a later list has it again
		}
		n.emit(Event{Kind: Gone, ID: id, At: now})
	}
	clear(n.chain.vanished)
}
