package price

import (
	"bufio"
	"compress/gzip"
	"encoding/hex"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"testing"

	"sightglass/ingester/payment"
	"sightglass/ingester/rawtx"
)

// open opens a file of the real data, or skips the test: the data lies beside
// the repository, or where SIGHTGLASS_DATA says.
func openData(t *testing.T, name string) *bufio.Reader {
	t.Helper()
	dir := os.Getenv("SIGHTGLASS_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		t.Skipf("no real data (set SIGHTGLASS_DATA to where it is): %v", err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return bufio.NewReaderSize(z, 1<<20)
}

func blockPayments(t *testing.T, name string) (all [][]payment.Satoshi) {
	raw, err := io.ReadAll(openData(t, name))
	if err != nil {
		t.Fatal(err)
	}
	block, err := rawtx.DecodeBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	return payment.All(block.Transactions)
}

func mempoolPayments(t *testing.T) (all [][]payment.Satoshi) {
	lines := bufio.NewScanner(openData(t, "mempool-2024-03-14.hex.gz"))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		raw, err := hex.DecodeString(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		tx, err := rawtx.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		amounts, _ := payment.Append(nil, tx)
		all = append(all, amounts)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestEngine_RealData has blocks and a mempool read cold. The set is a sample for
// regressions; how good the engine is, the accuracy program says.
func TestEngine_RealData(t *testing.T) {
	tests := []struct {
		name     string
		payments func(*testing.T) [][]payment.Satoshi
		truth    float64
		within   float64
	}{
		{"block 512500", func(t *testing.T) [][]payment.Satoshi { return blockPayments(t, "blocks/512500.raw.gz") }, 9981.5, 0.01},
		{"block 574200", func(t *testing.T) [][]payment.Satoshi { return blockPayments(t, "blocks/574200.raw.gz") }, 5313.57, 0.01},
		{"block 625000", func(t *testing.T) [][]payment.Satoshi { return blockPayments(t, "blocks/625000.raw.gz") }, 7310.54, 0.01},
		{"mempool of 2024", mempoolPayments, 73_300, 0.005},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEngine(t, Options{})
			for _, amounts := range tt.payments(t) {
				e.Add(start, amounts)
			}
			if got := e.Estimate(start); off(got.Price, tt.truth) > tt.within || got.Status != Live {
				t.Errorf("%+v, true %v", got, tt.truth)
			}
		})
	}
}

func TestEngine_RealMempoolSamples(t *testing.T) {
	all := mempoolPayments(t)
	random := rand.New(rand.NewSource(1))
	right, draws := 0, 20
	for range draws {
		e := newEngine(t, Options{})
		for _, i := range random.Perm(len(all))[:1000] {
			e.Add(start, all[i])
		}
		got := e.Estimate(start)
		if off(got.Price, 73_300) <= 0.01 {
			right++
		} else if got.Confidence > 0.9 {
			t.Errorf("sure of a wrong price: %+v", got)
		}
	}
	if right < draws*8/10 {
		t.Errorf("%d of %d samples of 1,000 transactions within 1 %%", right, draws)
	}
}

// TestEngine_TokenWaves has blocks of days on which most transactions served tokens: an unknown price rather than a wrong
// one, and with the blocks that follow the right one.
func TestEngine_TokenWaves(t *testing.T) {
	for name, truth := range map[string]float64{"781735": 27_739.32, "840243": 64_714.93} {
		e := newEngine(t, Options{})
		for _, amounts := range blockPayments(t, "blocks/"+name+".raw.gz") {
			e.Add(start, amounts)
		}
		if got := e.Estimate(start); got.Price != 0 && off(got.Price, truth) > 0.01 {
			t.Errorf("block %s: got %+v, want %v or no price", name, got, truth)
		}
	}
	e := newEngine(t, Options{})
	for i, b := range []struct {
		name   string
		minute int
		truth  float64
	}{
		{"799990", 0, 29_899.35}, {"799991", 7, 29_885.97}, {"799992", 9, 29_881.15}, {"799993", 13, 29_874.88}, {"799994", 20, 29_860.92},
	} {
		at := second(b.minute * 60)
		for _, amounts := range blockPayments(t, "blocks/"+b.name+".raw.gz") {
			e.Add(at, amounts)
		}
		if got := e.Estimate(at); off(got.Price, b.truth) > 0.01 && (i > 0 || got.Price != 0) {
			t.Errorf("after block %s: got %+v, want %v", b.name, got, b.truth)
		}
	}
}
