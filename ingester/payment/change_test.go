package payment

import (
	"slices"
	"testing"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/wire"
)

var (
	key     = append([]byte{2}, make([]byte, 32)...)               // a compressed public key
	oldKey  = append([]byte{4}, make([]byte, 64)...)               // an uncompressed one
	sig     = append([]byte{0x30}, make([]byte, 70)...)            // as long as a signature is
	control = append([]byte{0xc0}, make([]byte, 64)...)            // a Taproot control block
	redeem  = append([]byte{0, 20}, btcutil.Hash160(key)...)       // SegWit inside P2SH
	p2wpkh  = append([]byte{0, 20}, btcutil.Hash160(key)...)       // the script of an address of key
	p2pkh   = legacy(btcutil.Hash160(key))                         //
	oldP2   = legacy(btcutil.Hash160(oldKey))                      //
	p2sh    = nested(btcutil.Hash160(redeem))                      //
	elseW   = append([]byte{0, 20}, btcutil.Hash160([]byte{1})...) // somebody else's, in the same forms
	elseL   = legacy(btcutil.Hash160([]byte{1}))
	elseP   = nested(btcutil.Hash160([]byte{1}))
	taproot = append([]byte{0x51, 32}, make([]byte, 32)...)
)

func legacy(hash []byte) []byte {
	return append(append([]byte{0x76, 0xa9, 20}, hash...), 0x88, 0xac)
}

func nested(hash []byte) []byte { return append(append([]byte{0xa9, 20}, hash...), 0x87) }

func push(data ...[]byte) (script []byte) {
	for _, d := range data {
		script = append(append(script, byte(len(d))), d...)
	}
	return script
}

// The inputs, by what they spend.
var (
	fromP2WPKH  = wire.TxIn{Witness: wire.TxWitness{sig, key}}
	fromP2PKH   = wire.TxIn{SignatureScript: push(sig, key)}
	fromOld     = wire.TxIn{SignatureScript: push(sig, oldKey)}
	fromP2SH    = wire.TxIn{SignatureScript: push(redeem), Witness: wire.TxWitness{sig, key}}
	fromTaproot = wire.TxIn{Witness: wire.TxWitness{make([]byte, 64)}}
	fromTapleaf = wire.TxIn{Witness: wire.TxWitness{sig, {0x51}, control}}
	fromUnknown = wire.TxIn{}
)

func TestChange_Amounts(t *testing.T) {
	const paid, change Satoshi = 1_234_567, 87_654_321
	for name, c := range map[string]struct {
		from         wire.TxIn
		paid, change []byte // scripts
		want         []Satoshi
	}{
		"back to the same P2WPKH address":        {fromP2WPKH, elseW, p2wpkh, []Satoshi{paid}},
		"back to the same P2PKH address":         {fromP2PKH, elseL, p2pkh, []Satoshi{paid}},
		"back to the same uncompressed address":  {fromOld, elseL, oldP2, []Satoshi{paid}},
		"back to the same P2SH address":          {fromP2SH, elseP, p2sh, []Satoshi{paid}},
		"P2WPKH pays another form":               {fromP2WPKH, elseL, elseW, []Satoshi{paid}},
		"P2PKH pays another form":                {fromP2PKH, elseP, elseL, []Satoshi{paid}},
		"an uncompressed key pays another form":  {fromOld, elseP, elseL, []Satoshi{paid}},
		"P2SH pays another form":                 {fromP2SH, elseL, elseP, []Satoshi{paid}},
		"Taproot pays another form":              {fromTaproot, elseW, taproot, []Satoshi{paid}},
		"a Taproot script pays another form":     {fromTapleaf, elseW, taproot, []Satoshi{paid}},
		"both in the payer's form":               {fromP2WPKH, elseW, elseW, []Satoshi{paid, change}},
		"neither in the payer's form":            {fromP2WPKH, elseL, elseP, []Satoshi{paid, change}},
		"the payment in the form, change is own": {fromP2PKH, elseL, p2pkh, []Satoshi{paid}},
		"an input that shows nothing":            {fromUnknown, elseW, elseL, []Satoshi{paid, change}},
	} {
		t.Run(name, func(t *testing.T) {
			tx := wire.NewMsgTx(2)
			c.from.PreviousOutPoint.Hash[0] = 1
			tx.AddTxIn(&c.from)
			tx.AddTxOut(wire.NewTxOut(int64(paid), c.paid))
			tx.AddTxOut(wire.NewTxOut(int64(change), c.change))
			if got, why := Append(nil, tx); why != Kept || !slices.Equal(got, c.want) {
				t.Errorf("Append = %v, %v; want %v", got, why, c.want)
			}
		})
	}
}

func TestAllChange_Transactions(t *testing.T) {
	tx := wire.NewMsgTx(2)
	in := fromP2WPKH
	in.PreviousOutPoint.Hash[0] = 1
	tx.AddTxIn(&in)
	tx.AddTxOut(wire.NewTxOut(1_234_567, p2wpkh))
	if got, why := Append(nil, tx); why != Change || len(got) != 0 {
		t.Errorf("Append = %v, %v; want nothing, change", got, why)
	}
}
