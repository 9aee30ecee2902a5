package payment

import (
	"math"

	"github.com/btcsuite/btcd/wire"
)

// MaxOutputs is the widest transaction taken for a payment.
const MaxOutputs = 10

// MinAmount is the smallest amount taken for a payment.
const MinAmount Satoshi = 1000

const opReturn = 0x6a // the script opcode that makes an output carry data

// judge applies the rules about the whole transaction.
func judge(tx *wire.MsgTx) Reason {
	switch {
	case len(tx.TxIn) == 0 || len(tx.TxOut) == 0:
		return Malformed
	case isCoinbase(tx):
		return Coinbase
	case len(tx.TxOut) > MaxOutputs:
		return FanOut
	}
	for i, out := range tx.TxOut {
		if out.Value < 0 || Satoshi(out.Value) > Max {
			return Malformed
		}
		if len(out.PkScript) > 0 && out.PkScript[0] == opReturn {
			return OpReturn
		}
		for _, earlier := range tx.TxOut[:i] {
			if earlier.Value == out.Value {
				return Repeated
			}
		}
	}
	return Kept
}

func isCoinbase(tx *wire.MsgTx) bool {
	if len(tx.TxIn) != 1 {
		return false
	}
	prev := &tx.TxIn[0].PreviousOutPoint
	return prev.Index == math.MaxUint32 && prev.Hash == [32]byte{}
}

// isRound reports whether an amount has few significant digits: somebody
// thought of it in bitcoin, not in dollars.
func isRound(amount Satoshi) bool {
	zeros := 0
	for amount > 0 && amount%10 == 0 {
		amount /= 10
		zeros++
	}
	return zeros >= 3 || amount < 100
}
