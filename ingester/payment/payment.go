// Package payment reads the amounts out of a transaction that may be payments
// somebody thought of in dollars, and says why when there are none.
//
// It knows nothing of prices: its rules look at one transaction at a time.
package payment

import "github.com/btcsuite/btcd/wire"

// Satoshi is an amount of bitcoin in its smallest unit, 1e-8 BTC.
type Satoshi int64

// Bitcoin is one bitcoin.
const Bitcoin Satoshi = 1e8

// Max is the most there can ever be: no valid amount is above 21 million BTC.
const Max = 21_000_000 * Bitcoin

// Append appends the amounts of tx that may be payments to dst. The reason is
// Kept if there was at least one; otherwise it says which rule left none and
// dst comes back as it was.
//
// It never fails: a transaction that could not exist (no inputs or outputs,
// amounts below zero or above Max) is Malformed. Its cost is bounded by
// MaxOutputs, whatever the transaction's size, but for one look at each
// output's first script byte.
func Append(dst []Satoshi, tx *wire.MsgTx) ([]Satoshi, Reason) {
	if reason := judge(tx); reason != Kept {
		return dst, reason
	}
	start := len(dst)
	reason := Dust
	payer := payerOf(tx)
	for i, out := range tx.TxOut {
		amount := Satoshi(out.Value)
		switch {
		case amount < MinAmount:
		case isRound(amount):
			reason = Round
		case isRepeated(tx.TxOut, i):
			reason = Repeated
		case payer.isChange(tx, i):
			reason = Change
		default:
			dst = append(dst, amount)
		}
	}
	if len(dst) > start {
		return dst, Kept
	}
	return dst, reason
}
