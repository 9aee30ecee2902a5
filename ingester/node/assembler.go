package node

import (
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// An assembler collects a block's transactions. When a block connects or disconnects, bitcoind sends rawtx for each of
// its transactions, the coinbase first and without other messages in between, and then the C or D with the block's
// hash, which identifies the block. A node that catches up sends days of blocks this way.
type assembler struct {
	open         bool
	complete     bool // no message of the block was lost
	ids          []chainhash.Hash
	txs          []*wire.MsgTx
	lastReceived time.Time // receipt of the last transaction
	ambiguous    bool      // messages were lost, maybe a coinbase, so rawtx may belong to a block; until a message of the topic sequence comes
}

// maxBlockTransactions bounds a block. The smallest transactions fit about 16,000 times.
const maxBlockTransactions = 20_000

// start opens a block with its coinbase.
func (a *assembler) start(m *message) {
	a.open, a.complete, a.ambiguous = true, true, false
	a.ids, a.txs = a.ids[:0], nil // txs are handed on
	a.add(m)
}

func (a *assembler) add(m *message) {
	a.ids, a.txs, a.lastReceived = append(a.ids, m.id), append(a.txs, m.tx), m.at
}

// removeLast removes the last transaction if it has the given ID, and returns it, or nil.
func (a *assembler) removeLast(id chainhash.Hash) *wire.MsgTx {
	n := len(a.ids) - 1
	if n < 0 || a.ids[n] != id {
		return nil
	}
	tx := a.txs[n]
	a.ids, a.txs = a.ids[:n], a.txs[:n]
	return tx
}

// finish closes the block and returns its transactions, and whether they are complete. The slices are valid until the
// next start.
func (a *assembler) finish() (ids []chainhash.Hash, txs []*wire.MsgTx, complete bool) {
	complete = a.open && a.complete
	a.open = false
	return a.ids, a.txs, complete
}
