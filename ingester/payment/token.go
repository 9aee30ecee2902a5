package payment

import (
	"bytes"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// envelope begins an inscription in a Taproot script: OP_FALSE OP_IF and a push of "ord".
var envelope = []byte{txscript.OP_FALSE, txscript.OP_IF, 3, 'o', 'r', 'd'}

// IsToken reports whether a transaction serves a token protocol: it reveals an inscription, or carries a runestone.
// What it spends was set aside for that (the inscription's commit, the next mint's fee): amounts that follow from sizes
// and fee rates, and that cluster like a rung when many mint at once.
func IsToken(tx *wire.MsgTx) bool {
	for _, out := range tx.TxOut {
		if len(out.PkScript) > 1 && out.PkScript[0] == opReturn && out.PkScript[1] == txscript.OP_13 {
			return true
		}
	}
	return isInscription(tx)
}

func isInscription(tx *wire.MsgTx) bool {
	for _, in := range tx.TxIn {
		for _, item := range in.Witness {
			if bytes.Contains(item, envelope) {
				return true
			}
		}
	}
	return false
}

// All returns the amounts that may be payments of each of several transactions, such as a block's, without those of
// transactions that fund a token among them.
func All(txs []*wire.MsgTx) [][]Satoshi {
	funding := make(map[chainhash.Hash]struct{})
	for _, tx := range txs {
		if IsToken(tx) {
			for _, in := range tx.TxIn {
				funding[in.PreviousOutPoint.Hash] = struct{}{}
			}
		}
	}
	all := make([][]Satoshi, len(txs))
	for i, tx := range txs {
		if len(funding) > 0 {
			if _, ok := funding[tx.TxHash()]; ok {
				continue
			}
		}
		all[i], _ = Append(nil, tx)
	}
	return all
}
