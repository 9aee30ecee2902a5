package window_test

import (
	"encoding/binary"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/payment"
	"sightglass/ingester/window"
)

var start = time.Unix(1_556_771_671, 0)

func id(n int) chainhash.Hash {
	var h chainhash.Hash
	binary.LittleEndian.PutUint64(h[:], uint64(n))
	return h
}

func TestWindow_CountsTransactionOnce(t *testing.T) {
	w := window.New(3*time.Hour, 1000)
	if !w.Add(id(1), start, []payment.Satoshi{5, 6}) {
		t.Fatal("the first time was refused")
	}
	if w.Add(id(1), start.Add(time.Hour), []payment.Satoshi{5, 6}) {
		t.Error("counted a second time")
	}
	if w.Len() != 1 || w.Active() != 1 {
		t.Errorf("len %d active %d, want 1 and 1", w.Len(), w.Active())
	}
}

func TestWindow_TransactionWithoutPaymentsIsInactive(t *testing.T) {
	w := window.New(3*time.Hour, 1000)
	w.Add(id(1), start, nil)
	if w.Len() != 1 || w.Active() != 0 || w.Add(id(1), start, nil) {
		t.Errorf("len %d active %d, want 1 and 0, and no second time", w.Len(), w.Active())
	}
}

func TestWindow_RemoveReturnsAmounts(t *testing.T) {
	w := window.New(3*time.Hour, 1000)
	w.Add(id(1), start, []payment.Satoshi{1})
	w.Add(id(2), start.Add(time.Second), []payment.Satoshi{7, 8, 9})
	at, amounts, ok := w.Remove(id(2))
	if !ok || !at.Equal(start.Add(time.Second)) || !slices.Equal(amounts, []payment.Satoshi{7, 8, 9}) {
		t.Errorf("got %v %v %v", at, amounts, ok)
	}
	if _, _, again := w.Remove(id(2)); again {
		t.Error("removed twice")
	}
	if w.Len() != 1 || w.Active() != 1 {
		t.Errorf("len %d active %d, want 1 and 1", w.Len(), w.Active())
	}
	if !w.Add(id(2), start.Add(time.Hour), []payment.Satoshi{7}) {
		t.Error("one that was removed may come again")
	}
	w.Expire(start.Add(3*time.Hour + 20*time.Second)) // the slot of its first life goes, with a stale entry in it
	if _, _, ok := w.Remove(id(2)); !ok {
		t.Error("its first life's end took the second along")
	}
}

func TestWindow_ExpiresOldTransactions(t *testing.T) {
	w := window.New(3*time.Hour, 10_000)
	for i := range 3 * 360 {
		w.Add(id(i), start.Add(time.Duration(i)*10*time.Second), []payment.Satoshi{1})
	}
	full := w.Active()
	w.Expire(start.Add(4 * time.Hour))
	if got := w.Active(); got < 719 || got > 722 {
		t.Errorf("%d of %d after another hour, want two hours' worth, 720", got, full)
	}
	if w.Add(id(0), start.Add(59*time.Minute), []payment.Satoshi{1}) {
		t.Error("took one that is older than the window")
	}
	w.Expire(start.Add(24 * time.Hour))
	if w.Active() != 0 || w.Len() != 0 {
		t.Errorf("len %d active %d after a day, want none", w.Len(), w.Active())
	}
}

func TestWindow_AcceptsOlderTransactions(t *testing.T) {
	w := window.New(3*time.Hour, 1000)
	w.Add(id(1), start, []payment.Satoshi{1})
	w.Add(id(2), start.Add(-2*time.Hour), []payment.Satoshi{1})
	w.Expire(start.Add(90 * time.Minute))
	if _, _, ok := w.Remove(id(2)); ok {
		t.Error("added late, it still is 3.5 h old and must be gone")
	}
	if w.Active() != 1 {
		t.Errorf("active %d, want 1", w.Active())
	}
}

func TestWindow_LengthIsBounded(t *testing.T) {
	const most = 5000
	w := window.New(3*time.Hour, most)
	for i := range 10 * most {
		w.Add(id(i), start.Add(time.Duration(i)*50*time.Millisecond), []payment.Satoshi{1, 2})
	}
	if w.Len() > most {
		t.Errorf("%d transactions, want at most %d", w.Len(), most)
	}
	if _, _, ok := w.Remove(id(10*most - 1)); !ok {
		t.Error("the newest must stay; the oldest leave")
	}
}

// TestWindow_RemovedTransactionsAreBounded: transactions that are replaced at once leave room behind, which counts too.
func TestWindow_RemovedTransactionsAreBounded(t *testing.T) {
	const most = 5000
	w := window.New(3*time.Hour, most)
	w.Add(id(0), start, []payment.Satoshi{1})
	for i := 1; i < 3*most; i++ {
		w.Add(id(i), start.Add(time.Duration(i)*50*time.Millisecond), []payment.Satoshi{1})
		w.Remove(id(i))
	}
	if _, _, ok := w.Remove(id(0)); ok {
		t.Error("the oldest is still there: what was removed takes memory without bound")
	}
}

// TestWindow_BytesPerTransaction holds the promise of New: about 200 bytes for each transaction.
func TestWindow_BytesPerTransaction(t *testing.T) {
	const n = 100_000
	before := heap()
	w := window.New(3*time.Hour, 2*n)
	for i := range n {
		w.Add(id(i), start.Add(time.Duration(i)*100*time.Millisecond), []payment.Satoshi{1, 2})
	}
	if each := (heap() - before) / n; each > 250 {
		t.Errorf("%d bytes for each transaction", each)
	}
	runtime.KeepAlive(w)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestWindow_IdleTickAllocatesNothing(t *testing.T) {
	w := window.New(3*time.Hour, 200_000)
	for i := range 100_000 {
		w.Add(id(i), start.Add(time.Duration(i)*100*time.Millisecond), []payment.Satoshi{1, 2})
	}
	now := start.Add(3 * time.Hour)
	if n := testing.AllocsPerRun(100, func() {
		now = now.Add(500 * time.Millisecond)
		w.Expire(now)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWindow_All gives what is held, once, the oldest first.
func TestWindow_All(t *testing.T) {
	w := window.New(3*time.Hour, 1000)
	for range w.All() {
		t.Error("an empty window holds something")
	}
	w.Add(id(1), start, []payment.Satoshi{1, 2})
	w.Add(id(2), start.Add(time.Minute), []payment.Satoshi{3})
	w.Add(id(3), start.Add(-time.Minute), nil)
	w.Remove(id(2))
	w.Add(id(2), start.Add(2*time.Minute), []payment.Satoshi{4}) // it came again
	w.Remove(id(1))
	var got []chainhash.Hash
	for id, held := range w.All() {
		got = append(got, id)
		if len(got) == 2 && (!held.At.Equal(start.Add(2*time.Minute)) || !slices.Equal(held.Amounts, []payment.Satoshi{4})) {
			t.Errorf("got %+v", held)
		}
	}
	if !slices.Equal(got, []chainhash.Hash{id(3), id(2)}) {
		t.Errorf("got %v, want 3 and 2", got)
	}
	if e := w.Empty(); e.Len() != 0 || !e.Add(id(2), start, nil) {
		t.Error("an emptied window knows what the other holds")
	}
}
