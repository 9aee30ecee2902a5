package payment

import (
	"testing"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// spending returns a transaction that spends an output and pays amounts.
func spending(of chainhash.Hash, amounts ...int64) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{Hash: of}, nil, nil))
	for _, a := range amounts {
		tx.AddTxOut(wire.NewTxOut(a, []byte{0x51, 0x20, 31: 0, 33: 1}))
	}
	return tx
}

func reveal(of chainhash.Hash) *wire.MsgTx {
	tx := spending(of, 12_345)
	script := append([]byte{0x20, 32: 0, 33: 0xac}, 0x00, 0x63, 0x03, 'o', 'r', 'd', 0x01, 0x01)
	tx.TxIn[0].Witness = wire.TxWitness{make([]byte, 64), script, make([]byte, 33)}
	return tx
}

func TestIsToken(t *testing.T) {
	runestone, data := spending(chainhash.Hash{1}, 12_345), spending(chainhash.Hash{1}, 12_345)
	runestone.AddTxOut(wire.NewTxOut(0, []byte{0x6a, 0x5d, 0x02, 1, 2}))
	data.AddTxOut(wire.NewTxOut(0, []byte{0x6a, 0x02, 1, 2}))
	short := spending(chainhash.Hash{1}, 12_345)
	short.TxOut[0].PkScript = []byte{0x6a}
	for name, c := range map[string]struct {
		tx   *wire.MsgTx
		want bool
	}{
		"inscription":     {reveal(chainhash.Hash{1}), true},
		"runestone":       {runestone, true},
		"other data":      {data, false},
		"a single opcode": {short, false},
		"payment":         {spending(chainhash.Hash{1}, 12_345), false},
	} {
		if got := IsToken(c.tx); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if _, why := Append(nil, reveal(chainhash.Hash{1})); why != Token {
		t.Errorf("got %v for an inscription, want token", why)
	}
}

// TestAll_OmitsCommits has an inscription's commit, in a block before and after its reveal.
func TestAll_OmitsCommits(t *testing.T) {
	commit, payment := spending(chainhash.Hash{1}, 54_321, 98_765), spending(chainhash.Hash{2}, 11_223)
	for _, txs := range [][]*wire.MsgTx{
		{payment, commit, reveal(commit.TxHash())},
		{reveal(commit.TxHash()), commit, payment},
	} {
		for i, amounts := range All(txs) {
			want := 0
			if txs[i] == payment {
				want = 1
			}
			if len(amounts) != want {
				t.Errorf("got %v of transaction %d, want %d amounts", amounts, i, want)
			}
		}
	}
}
