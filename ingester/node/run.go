package node

import (
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// run collects a block as bitcoind tells it: when a block connects or disconnects, rawtx comes for each of its
// transactions, the coinbase first and nothing between them, and then the C or D with the block's hash. Only then is it
// known which block it was. A node that catches up tells days of blocks that way.
type run struct {
	open   bool
	whole  bool // none of it was lost
	ids    []chainhash.Hash
	txs    []*wire.MsgTx
	last   time.Time // when something came
	unsure bool      // transactions were lost, maybe a coinbase, so what comes may be a block's: until the topic sequence tells
}

// mostInRun is the most transactions of a run. A block holds 16,000 of the smallest at most.
const mostInRun = 20_000

// start begins with a coinbase.
func (r *run) start(m *message) {
	r.open, r.whole, r.unsure = true, true, false
	r.ids, r.txs = r.ids[:0], nil // txs are handed on
	r.take(m)
}

func (r *run) take(m *message) {
	r.ids, r.txs, r.last = append(r.ids, m.id), append(r.txs, m.tx), m.at
}

// pop takes the last one out if it is the given one.
func (r *run) pop(id chainhash.Hash) *wire.MsgTx {
	n := len(r.ids) - 1
	if n < 0 || r.ids[n] != id {
		return nil
	}
	tx := r.txs[n]
	r.ids, r.txs = r.ids[:n], r.txs[:n]
	return tx
}

// end closes the run and gives what is in it, whole or not. It is valid until the next start.
func (r *run) end() (ids []chainhash.Hash, txs []*wire.MsgTx, whole bool) {
	whole = r.open && r.whole
	r.open = false
	return r.ids, r.txs, whole
}

func isCoinbase(tx *wire.MsgTx) bool {
	return len(tx.TxIn) == 1 && tx.TxIn[0].PreviousOutPoint == coinbaseInput
}

// coinbaseInput is what a coinbase spends: nothing.
var coinbaseInput = wire.OutPoint{Index: wire.MaxPrevOutIndex}
