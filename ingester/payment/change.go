package payment

import (
	"bytes"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// lookedAt is how many inputs are asked for the address that they spend from. Payers who reuse an address mostly do
// so with all inputs, and a bound keeps a wide transaction cheap.
const lookedAt = 3

// A payer knows what a transaction spends from, as far as its inputs show it: enough to tell the payer's change.
type payer struct {
	scripts [lookedAt][]byte // of the outputs that are spent
	n       int
	form    txscript.ScriptClass // of the first
}

func payerOf(tx *wire.MsgTx) payer {
	p := payer{form: txscript.NonStandardTy}
	for i, in := range tx.TxIn[:min(len(tx.TxIn), lookedAt)] {
		form, script := spentBy(in)
		if i == 0 {
			p.form = form
		}
		if script != nil {
			p.scripts[p.n] = script
			p.n++
		}
	}
	return p
}

// isChange reports whether output i goes back to the payer: to an address that the transaction spends from, or, of
// two outputs, as the only one in the form that it spends (wallets give change in their own form).
func (p *payer) isChange(tx *wire.MsgTx, i int) bool {
	if p.owns(tx.TxOut[i].PkScript) {
		return true
	}
	if len(tx.TxOut) != 2 {
		return false
	}
	other := tx.TxOut[1-i].PkScript
	return !p.owns(other) && p.isForm(tx.TxOut[i].PkScript) && !p.isForm(other)
}

func (p *payer) owns(script []byte) bool {
	for _, own := range p.scripts[:p.n] {
		if bytes.Equal(own, script) {
			return true
		}
	}
	return false
}

func (p *payer) isForm(script []byte) bool {
	return p.form != txscript.NonStandardTy && txscript.GetScriptClass(script) == p.form
}

// spentBy gives the form and the script of the output that an input spends. The script is nil if the input does not show it.
func spentBy(in *wire.TxIn) (txscript.ScriptClass, []byte) {
	if isTaproot(in) {
		return txscript.WitnessV1TaprootTy, nil // a Taproot output does not show in what spends it
	}
	if key := uncompressedKey(in); key != nil {
		script := append([]byte{txscript.OP_DUP, txscript.OP_HASH160, txscript.OP_DATA_20}, btcutil.Hash160(key)...)
		return txscript.PubKeyHashTy, append(script, txscript.OP_EQUALVERIFY, txscript.OP_CHECKSIG)
	}
	script, err := txscript.ComputePkScript(in.SignatureScript, in.Witness)
	if err != nil {
		return txscript.NonStandardTy, nil
	}
	return script.Class(), script.Script()
}

// isTaproot: a lone Schnorr signature of 64 or 65 bytes, or a control block (33 + 32 n bytes, the first 0xc0 or 0xc1)
// at the end.
func isTaproot(in *wire.TxIn) bool {
	if len(in.SignatureScript) > 0 || len(in.Witness) == 0 {
		return false
	}
	last := in.Witness[len(in.Witness)-1]
	if len(in.Witness) == 1 {
		return len(last) == 64 || len(last) == 65
	}
	return len(last) > 33 && len(last)%32 == 1 && last[0]&0xfe == 0xc0
}

// uncompressedKey gives the public key of an input in the style of before 2012: a signature, then 65 bytes that start
// with 4. ComputePkScript takes such an input for another form.
func uncompressedKey(in *wire.TxIn) []byte {
	const size = 65
	script := in.SignatureScript
	if at := len(script) - size; len(in.Witness) == 0 && at > 60 && script[at-1] == size && script[at] == 4 {
		return script[at:]
	}
	return nil
}
