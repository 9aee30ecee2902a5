package payment

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
)

// spend returns a transaction with one ordinary input and these amounts.
func spend(amounts ...int64) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(wire.NewOutPoint(&chainhash.Hash{1}, 0), nil, nil))
	for _, a := range amounts {
		tx.AddTxOut(wire.NewTxOut(a, []byte{0x00, 0x14}))
	}
	return tx
}

func TestAppend_FiltersTransactions(t *testing.T) {
	coinbase := spend(625_012_345)
	coinbase.TxIn[0].PreviousOutPoint = wire.OutPoint{Index: math.MaxUint32}
	data := spend(1_234_567, 0)
	data.TxOut[1].PkScript = []byte{0x6a, 0x01, 0x00}
	noInputs := spend(1_234_567)
	noInputs.TxIn = nil
	noScript := spend(1_234_567)
	noScript.TxOut[0].PkScript = nil
	wide := make([]int64, MaxOutputs+1)
	for i := range wide {
		wide[i] = 1_234_567 + int64(i)
	}
	same := make([]int64, 10_000)
	for i := range same {
		same[i] = 1_234_567
	}
	tests := []struct {
		name string
		tx   *wire.MsgTx
		want []Satoshi
		why  Reason
	}{
		{"payment and change", spend(1_234_567, 87_654_321), []Satoshi{1_234_567, 87_654_321}, Kept},
		{"no script", noScript, []Satoshi{1_234_567}, Kept},
		{"nothing", wire.NewMsgTx(2), nil, Malformed},
		{"no inputs", noInputs, nil, Malformed},
		{"negative", spend(1_234_567, -1), nil, Malformed},
		{"most negative", spend(math.MinInt64), nil, Malformed},
		{"over 21 million", spend(1_234_567, int64(Max)+1), nil, Malformed},
		{"the most an output can say", spend(math.MaxInt64), nil, Malformed},
		{"zero beside a payment", spend(0, 1_234_567), []Satoshi{1_234_567}, Kept},
		{"coinbase", coinbase, nil, Coinbase},
		{"data", data, nil, OpReturn},
		{"as wide as allowed", spend(wide[:MaxOutputs]...), satoshis(wide[:MaxOutputs]), Kept},
		{"too wide", spend(wide...), nil, FanOut},
		{"ten thousand identical", spend(same...), nil, FanOut},
		{"zero only", spend(0), nil, Dust},
		{"token carriers", spend(546, 330, 600), nil, Dust},
		{"smallest", spend(int64(MinAmount) + 1), []Satoshi{MinAmount + 1}, Kept},
		{"a bitcoin", spend(1e8), nil, Round},
		{"two digits", spend(1_200), nil, Round},
		{"three digits", spend(1_230), []Satoshi{1_230}, Kept},
		{"four zeros", spend(123_450_000), nil, Round},
		{"three zeros", spend(123_456_000), []Satoshi{123_456_000}, Kept},
		{"everything there is", spend(int64(Max)), nil, Round},
		{"twice the same and change", spend(1_234_567, 1_234_567, 87_654_321), []Satoshi{87_654_321}, Kept},
		{"twice the same", spend(1_234_567, 1_234_567), nil, Repeated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := []Satoshi{42}
			got, why := Append(before, tt.tx)
			if why != tt.why || !slices.Equal(got[1:], tt.want) || got[0] != 42 {
				t.Errorf("Append = %v, %v; want %v, %v", got[1:], why, tt.want, tt.why)
			}
		})
	}
}

func satoshis(amounts []int64) []Satoshi {
	var s []Satoshi
	for _, a := range amounts {
		s = append(s, Satoshi(a))
	}
	return s
}

func TestReason_LabelsAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range Reasons() {
		name := r.String()
		if name == "" || name == "unknown" || seen[name] || !isSnake(name) {
			t.Errorf("reason %d is called %q", r, name)
		}
		seen[name] = true
	}
	if got := Reason(200).String(); got != "unknown" {
		t.Errorf("Reason(200) is called %q", got)
	}
	if Reasons()[0] != Kept || Kept != 0 {
		t.Error("Kept does not come first")
	}
}

func isSnake(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return true
}

func FuzzAppend(f *testing.F) {
	var seed bytes.Buffer
	if err := spend(1_234_567, 87_654_321).Serialize(&seed); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		tx, err := rawtx.Decode(raw)
		if err != nil {
			return
		}
		amounts, why := Append(nil, tx)
		if (len(amounts) > 0) != (why == Kept) || len(amounts) > MaxOutputs {
			t.Errorf("%d amounts, reason %v", len(amounts), why)
		}
		for _, a := range amounts {
			if a < MinAmount || a > Max {
				t.Errorf("amount of %d", a)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	tx := spend(1_234_567, 87_654_321)
	var dst []Satoshi
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = Append(dst[:0], tx)
	}
}
