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

// TestBackfill_GoesOnWithNextList: a list that comes before a backfill has ended, and in which nothing is missing, neither
// begins another nor hides its end.
func TestBackfill_GoesOnWithNextList(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	p := newPool()
	ids := []chainhash.Hash{{1}, {2}, {3}}
	for _, id := range ids {
		p.set(id, entry{pooled: true})
	}
	var f backfill
	if got := f.start(&p, now); got != len(ids) {
		t.Fatalf("got %d missing transactions, want %d", got, len(ids))
	}
	f.done, f.blocks = len(ids), 2
	for _, id := range ids[1:] {
		p.markReceived(id)
	}
	f.skipped = 1 // the first
	if got := f.start(&p, now.Add(time.Second)); got != 1 {
		t.Fatalf("got %d missing transactions, want 1", got)
	}
	if f.started != now || f.total != len(ids) || f.done != 2 || f.skipped != 0 || f.blocks != 2 {
		t.Errorf("got started %v, total %d, done %d, skipped %d, blocks %d; want the first backfill's, and the skipped one wanted again",
			f.started, f.total, f.done, f.skipped, f.blocks)
	}
	p.markReceived(ids[0])
	f.done = len(ids)
	if f.start(&p, now.Add(2*time.Second)); f.total != len(ids) {
		t.Errorf("got total %d, want %d, so that the end is logged", f.total, len(ids))
	}
}
