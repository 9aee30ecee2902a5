package node

import (
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// TestBackfill_TriesAreBounded: three tries in the first backfill, one with each list after that, ten in all.
func TestBackfill_TriesAreBounded(t *testing.T) {
	bad, p := chainhash.Hash{1}, newPool()
	p.replace([]chainhash.Hash{bad}, 1)
	var f backfill
	var tries []int // by list
	for range 20 {
		n := 0
		f.start(&p, time.Time{})
		for len(f.wanted) > 0 {
			if !slices.Equal(f.wanted, []chainhash.Hash{bad}) {
				t.Fatalf("got %v wanted, want %v", f.wanted, bad)
			}
			f.wanted = nil
			n++
			f.fail(bad, f.list)
			f.startRetries(time.Time{})
		}
		if !f.idle() {
			t.Fatal("got a backfill that does not end")
		}
		tries = append(tries, n)
	}
	want := append([]int{3, 1, 1, 1, 1, 1, 1, 1}, make([]int, 12)...)
	if !slices.Equal(tries, want) {
		t.Errorf("got %v tries, want %v", tries, want)
	}
	p.remove(bad, 1)
	f.start(&p, time.Time{})
	p.add(bad, 2)
	if f.start(&p, time.Time{}) != 1 || len(f.failures) > 0 {
		t.Error("got a transaction that left the mempool and returned as not wanted, want it wanted")
	}
}

func TestBackfill_FailuresAreBounded(t *testing.T) {
	var f backfill
	for i := range 2*maxFailures + 10 {
		f.fail(chainhash.Hash{byte(i), byte(i >> 8), byte(i >> 16)}, f.list)
	}
	if len(f.failures) > maxFailures {
		t.Errorf("got %d remembered failures, want %d at most", len(f.failures), maxFailures)
	}
	blocks := 0
	for i := range 3 * maxSteps {
		if f.failBlock(chainhash.Hash{byte(i), byte(i >> 8)}) {
			blocks++
		}
	}
	if len(f.blockFailures) > maxSteps || blocks > 0 {
		t.Errorf("got %d remembered blocks, want %d at most; got %d skipped at the first try, want none", len(f.blockFailures), maxSteps, blocks)
	}
}
