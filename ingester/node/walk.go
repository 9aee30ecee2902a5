package node

import (
	"errors"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/bitcoind"
)

// walk goes back from the tip through the blocks of the window.
type walk struct {
	next  chainhash.Hash
	steps int
	retry time.Time
}

// maxSteps bounds a walk: the blocks of the window, about 18, many times over.
const maxSteps = 500

// requestWalkStep requests the next block back from the tip: all of a block that was not processed yet, the header of
// another.
func (t *tracker) requestWalkStep(now time.Time) {
	w := t.chain.walk
	if w == nil || t.chain.walkFetching || len(t.backfill.backlog) > maxBacklog || now.Before(w.retry) {
		return
	}
	t.chain.walkFetching = true
	wanted := all
	if _, processed := t.chain.processed[w.next]; processed {
		wanted = nothing
		if len(t.chain.vanished) > 0 {
			wanted = onlyIDs
		}
	}
	t.request(walkRequest{walk: w, blockRequest: blockRequest{hash: w.next, wanted: wanted, oldest: now.Add(-t.opts.Window)}})
}

func (t *tracker) applyWalk(r walkRequest, b block, err error, now time.Time) {
	w := r.walk
	t.chain.walkFetching = false
	noteFetch(&t.sync.rpc.blocksFailingSince, err, now)
	if _, processed := t.chain.processed[r.hash]; !processed && err == nil && b.txs != nil {
		t.chain.markProcessed(r.hash, b.ids)
		t.queueBlockTransactions(b.txs, b.at, now)
		t.backfill.blocks++
	}
	switch {
	case t.chain.walk != w: // a newer walk has started: it looks for other transactions
		return
	case errors.Is(err, bitcoind.ErrPruned):
		t.logOnce(err)
		t.chain.walk = nil
		clear(t.chain.vanished) // they may have been mined there, so they remain evidence
		return
	case errors.Is(err, bitcoind.ErrNotFound) && b.at.IsZero(): // the chain has changed
		t.chain.walk = nil
		t.sync.schedule(retryTime(now))
		return
	case err != nil:
		t.logOnce(err)
		// Without its header the step cannot continue. Headers are in the node's memory: an error about one is about
		// the node.
		if b.at.IsZero() || !bitcoind.AboutOne(err) || !t.backfill.failBlock(r.hash) {
			w.retry = retryTime(now)
			return
		}
		t.skipBlock(r.hash, b.ids, err)
	case r.wanted == all:
		t.chain.markProcessed(r.hash, b.ids) // one that is too old, too: it is known
	default: // it was processed at the request; if it has turned out to be incomplete since, the next walk fetches it
		t.chain.markMined(b.ids)
	}
	w.next, w.steps = b.previous, w.steps+1
	if now.Sub(b.at) > t.opts.Window || b.previous == (chainhash.Hash{}) || w.steps >= maxSteps {
		t.endWalk(now)
	}
}

// skipBlock continues without a block that RPC does not return, or returns as bytes that are no block. It is not
// fetched again. Payments that came only with this block are lost. If its IDs are unknown too, so is which of the
// vanished transactions were mined; those remain evidence.
func (t *tracker) skipBlock(hash chainhash.Hash, ids []chainhash.Hash, err error) {
	t.metrics.unread.Inc()
	t.log.Warn("skipped a block that could not be fetched", "block", hash, "tries", triesPerBackfill, "err", err)
	t.chain.markProcessed(hash, ids)
	if ids == nil {
		clear(t.chain.vanished)
	}
}

// endWalk removes what vanished and is in none of the window's blocks: it was removed from the mempool, or is too old
// to matter.
func (t *tracker) endWalk(now time.Time) {
	t.chain.walk = nil
	for id := range t.chain.vanished {
		if t.pool.entries[id].pooled {
			continue // a later list has it again
		}
		t.emit(Event{Kind: Gone, ID: id, At: now})
	}
	clear(t.chain.vanished)
}
