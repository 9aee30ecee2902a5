package node

import (
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// run collects a block as bitcoind tells it: when a block connects or disconnects, rawtx comes for each of its
// transactions, the coinbase first and nothing between them, and then the C or D with the block's hash. Only then is it
// known which block it was. A node that catches up tells days of blocks that way.
type assembler struct {
	open         bool
	complete     bool // none of it was lost
	ids          []chainhash.Hash
	txs          []*wire.MsgTx
	lastReceived time.Time // when something came
	ambiguous    bool      // transactions were lost, maybe a coinbase, so what comes may be a block's: until the topic sequence tells
}

// mostInRun is the most transactions of a run. A block holds 16,000 of the smallest at most.
const maxBlockTransactions = 20_000

// start begins with a coinbase.
func (r *assembler) start(m *message) {
	r.open, r.complete, r.ambiguous = true, true, false
	r.ids, r.txs = r.ids[:0], nil // txs are handed on
	r.add(m)
}

func (r *assembler) add(m *message) {
	r.ids, r.txs, r.lastReceived = append(r.ids, m.id), append(r.txs, m.tx), m.at
}

// pop takes the last one out if it is the given one.
func (r *assembler) removeLast(id chainhash.Hash) *wire.MsgTx {
	n := len(r.ids) - 1
	if n < 0 || r.ids[n] != id {
		return nil
	}
	tx := r.txs[n]
	r.ids, r.txs = r.ids[:n], r.txs[:n]
	return tx
}

// end closes the run and gives what is in it, whole or not. It is valid until the next start.
func (r *assembler) finish() (ids []chainhash.Hash, txs []*wire.MsgTx, whole bool) {
	whole = r.open && r.complete
	r.open = false
	return r.ids, r.txs, whole
}
