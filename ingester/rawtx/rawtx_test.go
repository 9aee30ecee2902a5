package rawtx_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
	"sightglass/ingester/testblock"
)

// genesis is the first transaction; its one output pays 50 bitcoin.
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

func block(t testing.TB) []byte {
	t.Helper()
	raw, err := os.ReadFile(testblock.Path(t, testblock.Block540107))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestDecode_Genesis(t *testing.T) {
	tx, err := rawtx.Decode(unhex(t, genesis))
	if err != nil {
		t.Fatal(err)
	}
	if got := tx.TxHash().String(); got != genesisID {
		t.Errorf("got txid %s, want %s", got, genesisID)
	}
	if len(tx.TxOut) != 1 || tx.TxOut[0].Value != 50e8 {
		t.Errorf("got outputs %+v, want one of 50 bitcoin", tx.TxOut)
	}
}

func TestDecodeBlock_RealBlock(t *testing.T) {
	got, err := rawtx.DecodeBlock(block(t))
	if err != nil {
		t.Fatal(err)
	}
	if name := "block-" + got.BlockHash().String() + ".blk"; name != testblock.Block540107 || len(got.Transactions) != 230 {
		t.Errorf("got %s with %d transactions, want %s with 230", name, len(got.Transactions), testblock.Block540107)
	}
}

// input is an outpoint, an empty script and a sequence.
var input = strings.Repeat("00", 36) + "00" + "ffffffff"

func TestDecode_RejectsMalformed(t *testing.T) {
	for name, c := range map[string]struct{ hex, want string }{
		"no bytes":                  {"", "at byte 0: expected a transaction's version, 4 bytes, but 0 are left"},
		"half a transaction":        {genesis[:100], "at byte 41: expected 77 bytes of an input's script, but 8 bytes are left"},
		"no lock time":              {genesis[:len(genesis)-2], "at byte 200: expected a transaction's lock time, 4 bytes, but 3 are left"},
		"one byte more":             {genesis + "00", "at byte 204: expected the end, but 1 bytes follow"},
		"a thousand million inputs": {"01000000" + "fe00ca9a3b", "at byte 4: expected 1000000000 inputs, but 0 bytes are left"},
		"2^64-1 inputs":             {"01000000" + "ffffffffffffffffff" + strings.Repeat("00", 200), "inputs, but 200 bytes are left"},
		"no input":                  {"01000000" + "0001" + "00" + "00" + "00000000", "at byte 8: expected a witness"},
		"another flag":              {"01000000" + "0002" + "01" + input, "at byte 5: expected the witness flag 1, got 2"},
		"a script of 4 GB":          {"0100000001" + strings.Repeat("00", 36) + "feffffffff" + strings.Repeat("00", 20), "at byte 41: expected 4294967295 bytes of an input's script, but 20"},
		"3 million outputs":         {"0100000001" + input + "fec0c62d00" + strings.Repeat("00", 30), "at byte 46: expected 3000000 outputs, but 30 bytes are left"},
		"an output count cut off":   {"0100000001" + input + "fec0", "at byte 46: expected the number of outputs, but 2 bytes are left"},
		"a long form of 1":          {"01000000" + "fd0100" + input + "00" + "00000000", "at byte 4: expected the number of inputs in its shortest form, got 1 in 3 bytes"},
		"a long form of 65535":      {"01000000" + "feffff0000" + input, "got 65535 in 5 bytes"},
		"a long form of 2^32-1":     {"01000000" + "ffffffffff00000000" + input, "got 4294967295 in 9 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rawtx.Decode(unhex(t, c.hex))
			if !errors.Is(err, rawtx.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant an ErrInvalid with %q", err, c.want)
			}
		})
	}
}

func TestDecode_RejectsHostileClaims(t *testing.T) {
	for name, raw := range testblock.Hostile() {
		t.Run(name, func(t *testing.T) {
			_, err := rawtx.Decode(raw)
			if !errors.Is(err, rawtx.ErrInvalid) || !strings.Contains(err.Error(), name[:len(name)-1]) && !strings.Contains(err.Error(), "script") {
				t.Errorf("got %v, want an ErrInvalid about the %s", err, name)
			}
			if _, err := rawtx.DecodeBlock(blockOf(raw)); !errors.Is(err, rawtx.ErrInvalidBlock) {
				t.Errorf("in a block: got %v, want an ErrInvalidBlock", err)
			}
		})
	}
}

// blockOf returns a block of one transaction.
func blockOf(raw []byte) []byte { return slices.Concat(make([]byte, 80), []byte{1}, raw) }

func TestDecode_RejectsOversized(t *testing.T) {
	if _, err := rawtx.Decode(make([]byte, rawtx.MaxSize+1)); !errors.Is(err, rawtx.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	if _, err := rawtx.DecodeBlock(make([]byte, rawtx.MaxSize+1)); !errors.Is(err, rawtx.ErrInvalidBlock) {
		t.Errorf("got %v, want ErrInvalidBlock", err)
	}
}

// TestDecode_LargestScript: a transaction of MaxSize bytes, nearly all of it scripts, is valid and does not exhaust
// btcd's buffer.
func TestDecode_LargestScript(t *testing.T) {
	const around = 4 + 1 + 36 + 5 + 4 + 1 + 8 + 5 + 4
	const first = 195_000
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{}, make([]byte, first), nil))
	tx.AddTxOut(wire.NewTxOut(1, bytes.Repeat([]byte{7}, rawtx.MaxSize-around-first)))
	var raw bytes.Buffer
	if err := tx.Serialize(&raw); err != nil || raw.Len() != rawtx.MaxSize {
		t.Fatalf("got %d bytes, %v; want %d", raw.Len(), err, rawtx.MaxSize)
	}
	got, err := rawtx.Decode(raw.Bytes())
	if err != nil || got.TxHash() != tx.TxHash() {
		t.Errorf("got %v, want the transaction", err)
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestDecode_MemoryIsProportional: the allocations are bounded by the available bytes. Empty witness items cost the
// most: a byte each, and 24 for the slice.
func TestDecode_MemoryIsProportional(t *testing.T) {
	const perByte, constant = 32, 64 << 10
	if _, err := rawtx.Decode(unhex(t, genesis)); err != nil { // btcd keeps the buffer that it parses with
		t.Fatal(err)
	}
	emptyItems := wire.NewMsgTx(2)
	emptyItems.AddTxIn(wire.NewTxIn(&wire.OutPoint{}, nil, make(wire.TxWitness, 300_000)))
	var raw bytes.Buffer
	if err := emptyItems.Serialize(&raw); err != nil {
		t.Fatal(err)
	}
	cases := testblock.Hostile()
	cases["present empty witness items"] = raw.Bytes()
	for name, raw := range cases {
		for form, decode := range map[string]func(){
			"transaction": func() { _, _ = rawtx.Decode(raw) },
			"block":       func() { _, _ = rawtx.DecodeBlock(blockOf(raw)) },
		} {
			if got, most := allocated(decode), uint64(len(raw)*perByte+constant); got > most {
				t.Errorf("got %s, %s of %d bytes: %d bytes allocated, want at most %d", name, form, len(raw), got, most)
			}
		}
	}
	whole := block(t)
	if got, most := allocated(func() { _, _ = rawtx.DecodeBlock(whole) }), uint64(len(whole)*perByte); got > most {
		t.Errorf("a real block of %d bytes: got %d bytes allocated, want at most %d", len(whole), got, most)
	}
}

// reference returns what btcd alone parses from raw; nil if it panics, fails or leaves bytes.
func reference(raw []byte, parse func(io.Reader) error) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	r := bytes.NewReader(raw)
	return len(raw) <= rawtx.MaxSize && parse(r) == nil && r.Len() == 0
}

// compareTx checks that Decode accepts exactly the bytes that btcd accepts, and that an error has an offset.
func compareTx(raw []byte) error {
	var want wire.MsgTx
	ok := reference(raw, want.Deserialize)
	got, err := rawtx.Decode(raw)
	switch {
	case err != nil:
		return compareError(err, rawtx.ErrInvalid, len(raw), ok)
	case !ok:
		return errors.New("accepted, but btcd does not")
	case got.TxHash() != want.TxHash() || got.WitnessHash() != want.WitnessHash():
		return fmt.Errorf("got txid %v, want %v", got.TxHash(), want.TxHash())
	}
	return nil
}

func compareBlock(raw []byte) error {
	var want wire.MsgBlock
	ok := reference(raw, want.Deserialize)
	got, err := rawtx.DecodeBlock(raw)
	switch {
	case err != nil:
		return compareError(err, rawtx.ErrInvalidBlock, len(raw), ok)
	case !ok:
		return errors.New("accepted, but btcd does not")
	case got.BlockHash() != want.BlockHash() || len(got.Transactions) != len(want.Transactions):
		return fmt.Errorf("got block %v, want %v", got.BlockHash(), want.BlockHash())
	}
	for i, tx := range got.Transactions {
		if tx.WitnessHash() != want.Transactions[i].WitnessHash() {
			return fmt.Errorf("got transaction %v, want %v", tx.TxHash(), want.Transactions[i].TxHash())
		}
	}
	return nil
}

func compareError(err, kind error, size int, ok bool) error {
	at, located := errors.AsType[*rawtx.Error](err)
	switch {
	case ok:
		return fmt.Errorf("got %w, but btcd accepts it", err)
	case !errors.Is(err, kind) || !located:
		return fmt.Errorf("got an error of another kind: %w", err)
	case at.Offset < 0 || at.Offset > size:
		return fmt.Errorf("got an offset outside of %d bytes: %w", size, err)
	case strings.Contains(err.Error(), "panicked"):
		return fmt.Errorf("got an error of btcd, want one of the walk: %w", err)
	}
	return nil
}

// TestDecodeBlock_RejectsDamaged changes three bytes of a real block, the first of them where a length may be.
func TestDecodeBlock_RejectsDamaged(t *testing.T) {
	whole := block(t)
	rng := rand.New(rand.NewPCG(13, 5))
	rejected := 0
	for range 100 {
		damaged := bytes.Clone(whole)
		at := 80 + rng.IntN(len(whole)-83)
		copy(damaged[at:], []byte{0xfe, byte(rng.Uint32()), byte(rng.Uint32())})
		if err := compareBlock(damaged); err != nil {
			t.Fatalf("damaged at byte %d: got %v", at, err)
		}
		if _, err := rawtx.DecodeBlock(damaged); err != nil {
			rejected++
		}
	}
	if rejected == 0 {
		t.Error("got no rejected block, want some")
	}
}

// someOf returns the serialisations of a few real transactions, with and without witnesses: small ones, so that the
// fuzzer is fast.
func someOf(t testing.TB, raw []byte) (some [][]byte) {
	t.Helper()
	b, err := rawtx.DecodeBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, tx := range b.Transactions {
		var one bytes.Buffer
		if err := tx.Serialize(&one); err != nil {
			t.Fatal(err)
		}
		if one.Len() < 400 {
			some = append(some, one.Bytes())
		}
		if len(some) == 5 {
			break
		}
	}
	return some
}

func FuzzDecode(f *testing.F) {
	for _, raw := range someOf(f, block(f)) {
		f.Add(raw)
	}
	f.Add(unhex(f, genesis))
	f.Add(unhex(f, genesis[:100]))
	f.Add(unhex(f, "01000000fe00ca9a3b"))
	f.Add(unhex(f, "0200000000010100000000000000000000000000000000000000000000000000000000000000000000000000ffffffff0100000000000000000000000000"))
	for _, raw := range testblock.Hostile() {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := compareTx(raw); err != nil {
			t.Fatal(err)
		}
		tx, err := rawtx.Decode(raw)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := tx.Serialize(&again); err != nil {
			t.Fatal(err)
		}
		tx2, err := rawtx.Decode(again.Bytes())
		if err != nil || tx2.TxHash() != tx.TxHash() {
			t.Fatalf("got another transaction from the second decoding: %v", err)
		}
	})
}

func FuzzDecodeBlock(f *testing.F) {
	for _, raw := range testblock.Hostile() {
		f.Add(blockOf(raw))
	}
	f.Add(blockOf(unhex(f, genesis)))
	f.Add(make([]byte, 81))
	whole := block(f)
	f.Add(whole)
	some := someOf(f, whole)
	f.Add(slices.Concat(make([]byte, 80), []byte{byte(len(some))}, slices.Concat(some...)))
	for _, at := range []int{80, 122, 2000, len(whole) / 2} {
		damaged := bytes.Clone(whole)
		copy(damaged[at:], []byte{0xfe, 0x3d, 0x09})
		f.Add(damaged)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := compareBlock(raw); err != nil {
			t.Fatal(err)
		}
	})
}
