package rawtx_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
)

// genesis is the first transaction of all; its one output pays 50 bitcoin.
const genesis = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"

const genesisID = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestDecode(t *testing.T) {
	tx, err := rawtx.Decode(unhex(t, genesis))
	if err != nil {
		t.Fatal(err)
	}
	if got := tx.TxHash().String(); got != genesisID {
		t.Errorf("txid %s, want %s", got, genesisID)
	}
	if len(tx.TxOut) != 1 || tx.TxOut[0].Value != 50e8 {
		t.Errorf("outputs %+v, want one of 50 bitcoin", tx.TxOut)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ hex, want string }{
		"nothing":                   {"", "EOF"},
		"half a transaction":        {genesis[:100], "77 script bytes in the 8 bytes that are left"},
		"one byte more":             {genesis + "00", "but 1 more follow"},
		"a thousand million inputs": {"01000000" + "fe00ca9a3b", "1000000000 inputs in the 0 bytes"},
		"2^64-1 inputs":             {"01000000" + "ffffffffffffffffff" + strings.Repeat("00", 200), "inputs in the 200 bytes"},
		"a script of 4 GB":          {"0100000001" + strings.Repeat("00", 36) + "feffffffff" + strings.Repeat("00", 20), "script bytes in the 20 bytes"},
		"3 million outputs":         {"0100000001" + strings.Repeat("00", 36) + "00ffffffff" + "fec0c62d00" + strings.Repeat("00", 30), "3000000 outputs in the 30 bytes"},
		"an output count cut off":   {"0100000001" + strings.Repeat("00", 36) + "00ffffffff" + "fec0", "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rawtx.Decode(unhex(t, c.hex))
			if !errors.Is(err, rawtx.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant an ErrInvalid that says %q", err, c.want)
			}
		})
	}
}

func TestDecodeRefusesWhatNoBlockHolds(t *testing.T) {
	if _, err := rawtx.Decode(make([]byte, rawtx.MaxSize+1)); !errors.Is(err, rawtx.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(unhex(f, genesis))
	f.Add(unhex(f, genesis[:100]))
	f.Add(unhex(f, "01000000fe00ca9a3b"))
	f.Add(unhex(f, "0200000000010100000000000000000000000000000000000000000000000000000000000000000000000000ffffffff0100000000000000000000000000"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tx, err := rawtx.Decode(raw)
		if err != nil {
			if !errors.Is(err, rawtx.ErrInvalid) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		var again bytes.Buffer
		if err := tx.Serialize(&again); err != nil {
			t.Fatal(err)
		}
		var tx2 wire.MsgTx
		if err := tx2.Deserialize(&again); err != nil || tx2.TxHash() != tx.TxHash() {
			t.Fatalf("decoded to another transaction the second time: %v", err)
		}
	})
}
