package node

import (
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// TestFill_RefusedTransactionIsAskedForBounded: three times in the first fill, once with each list after that, ten times
// in all.
func TestFill_RefusedTransactionIsAskedForBounded(t *testing.T) {
	bad, p := chainhash.Hash{1}, newPool()
	p.replace([]chainhash.Hash{bad}, 1)
	var f fill
	var asked []int // by list
	for range 20 {
		n := 0
		f.begin(&p, time.Time{})
		for len(f.wanted) > 0 {
			if !slices.Equal(f.wanted, []chainhash.Hash{bad}) {
				t.Fatalf("wants %v, want %v", f.wanted, bad)
			}
			f.wanted = nil
			n++
			f.refuse(bad, f.number)
			f.repeat(time.Time{})
		}
		if !f.idle() {
			t.Fatal("the fill does not end")
		}
		asked = append(asked, n)
	}
	want := append([]int{3, 1, 1, 1, 1, 1, 1, 1}, make([]int, 12)...)
	if !slices.Equal(asked, want) {
		t.Errorf("asked %v times, want %v", asked, want)
	}
	p.remove(bad, 1)
	f.begin(&p, time.Time{})
	p.add(bad, 2)
	if f.begin(&p, time.Time{}) != 1 || len(f.refusals) > 0 {
		t.Error("one that left the mempool and is there again is not wanted")
	}
}

func TestFill_RefusalsAreBounded(t *testing.T) {
	var f fill
	for i := range 2*mostRefusals + 10 {
		f.refuse(chainhash.Hash{byte(i), byte(i >> 8), byte(i >> 16)}, f.number)
	}
	if len(f.refusals) > mostRefusals {
		t.Errorf("%d refusals are remembered, want %d at most", len(f.refusals), mostRefusals)
	}
	blocks := 0
	for i := range 3 * mostSteps {
		if f.giveUp(chainhash.Hash{byte(i), byte(i >> 8)}) {
			blocks++
		}
	}
	if len(f.badBlocks) > mostSteps || blocks > 0 {
		t.Errorf("%d blocks are remembered, want %d at most; %d are skipped at the first try", len(f.badBlocks), mostSteps, blocks)
	}
}
