package payment

import (
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
)

// MaxOutputs is the widest transaction taken for payments. Batches of up to a
// hundred are exchanges paying out, and show the price better than anything; in
// wider ones one payer's habits outweigh everybody else's in a block. 70 to 150
// do equally well.
const MaxOutputs = 100

// MinAmount is the smallest amount taken for a payment: below are the dust
// limits (294 to 546 satoshi) and what carries tokens and inscriptions.
const MinAmount Satoshi = 1000

// An amount is round in bitcoin if it ends in this many zeros, or if without
// its zeros it is below roundBelow: two significant digits or one.
const (
	roundZeros         = 4
	roundBelow Satoshi = 100
)

const opReturn = 0x6a // the script opcode that makes an output carry data

// judge applies the rules about the whole transaction.
func judge(tx *wire.MsgTx) Reason {
	switch {
	case len(tx.TxIn) == 0 || len(tx.TxOut) == 0:
		return Malformed
	case rawtx.IsCoinbase(tx):
		return Coinbase
	case len(tx.TxOut) > MaxOutputs:
		return FanOut
	}
	for _, out := range tx.TxOut {
		if out.Value < 0 || Satoshi(out.Value) > Max {
			return Malformed
		}
		if len(out.PkScript) > 0 && out.PkScript[0] == opReturn {
			return OpReturn
		}
	}
	if isInscription(tx) {
		return Token
	}
	return Kept
}

// isRound reports whether an amount is round in bitcoin: somebody thought of
// it in bitcoin, not in dollars.
func isRound(amount Satoshi) bool {
	zeros, rest := 0, amount
	for rest > 0 && rest%10 == 0 {
		rest /= 10
		zeros++
	}
	return zeros >= roundZeros || rest < roundBelow
}

// isRepeated reports whether another output of the transaction has the amount
// of output i. The transaction is no wider than MaxOutputs.
func isRepeated(outs []*wire.TxOut, i int) bool {
	for j, out := range outs {
		if j != i && out.Value == outs[i].Value {
			return true
		}
	}
	return false
}
