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
		t.Fatal("got the first Add rejected, want it accepted")
	}
	if w.Add(id(1), start.Add(time.Hour), []payment.Satoshi{5, 6}) {
		t.Error("got the second Add accepted, want it rejected")
	}
	if w.Len() != 1 || w.Active() != 1 {
		t.Errorf("got len %d and active %d, want 1 and 1", w.Len(), w.Active())
	}
}

func TestWindow_TransactionWithoutPaymentsIsInactive(t *testing.T) {
	w := window.New(3*time.Hour, 1000)
	w.Add(id(1), start, nil)
	if w.Len() != 1 || w.Active() != 0 || w.Add(id(1), start, nil) {
		t.Errorf("got len %d and active %d, want 1 and 0, and the second Add rejected", w.Len(), w.Active())
	}
}

func TestWindow_RemoveReturnsAmounts(t *testing.T) {
	w := window.New(3*time.Hour, 1000)
	w.Add(id(1), start, []payment.Satoshi{1})
	w.Add(id(2), start.Add(time.Second), []payment.Satoshi{7, 8, 9})
	at, amounts, ok := w.Remove(id(2))
	if !ok || !at.Equal(start.Add(time.Second)) || !slices.Equal(amounts, []payment.Satoshi{7, 8, 9}) {
		t.Errorf("got %v %v %v, want the added amounts", at, amounts, ok)
	}
	if _, _, again := w.Remove(id(2)); again {
		t.Error("got a second removal, want none")
	}
	if w.Len() != 1 || w.Active() != 1 {
		t.Errorf("got len %d and active %d, want 1 and 1", w.Len(), w.Active())
	}
	if !w.Add(id(2), start.Add(time.Hour), []payment.Satoshi{7}) {
		t.Error("got a removed transaction rejected, want it accepted again")
	}
	w.Expire(start.Add(3*time.Hour + 20*time.Second)) // the slot of its first addition expires, with an outdated entry
	if _, _, ok := w.Remove(id(2)); !ok {
		t.Error("got the second addition expired with the first, want it kept")
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
		t.Errorf("got %d of %d after another hour, want those of two hours, 720", got, full)
	}
	if w.Add(id(0), start.Add(59*time.Minute), []payment.Satoshi{1}) {
		t.Error("got a transaction older than the window accepted, want it rejected")
	}
	w.Expire(start.Add(24 * time.Hour))
	if w.Active() != 0 || w.Len() != 0 {
		t.Errorf("got len %d and active %d after a day, want none", w.Len(), w.Active())
	}
}

func TestWindow_AcceptsOlderTransactions(t *testing.T) {
	w := window.New(3*time.Hour, 1000)
	w.Add(id(1), start, []payment.Satoshi{1})
	w.Add(id(2), start.Add(-2*time.Hour), []payment.Satoshi{1})
	w.Expire(start.Add(90 * time.Minute))
	if _, _, ok := w.Remove(id(2)); ok {
		t.Error("got a transaction of 3.5 h age, want it expired")
	}
	if w.Active() != 1 {
		t.Errorf("got active %d, want 1", w.Active())
	}
}

func TestWindow_LengthIsBounded(t *testing.T) {
	const most = 5000
	w := window.New(3*time.Hour, most)
	for i := range 10 * most {
		w.Add(id(i), start.Add(time.Duration(i)*50*time.Millisecond), []payment.Satoshi{1, 2})
	}
	if w.Len() > most {
		t.Errorf("got %d transactions, want at most %d", w.Len(), most)
	}
	if _, _, ok := w.Remove(id(10*most - 1)); !ok {
		t.Error("got another selection, want the newest kept and the oldest removed")
	}
}

// TestWindow_RemovedTransactionsAreBounded: entries of removed transactions use memory, and count for the limit.
func TestWindow_RemovedTransactionsAreBounded(t *testing.T) {
	const most = 5000
	w := window.New(3*time.Hour, most)
	w.Add(id(0), start, []payment.Satoshi{1})
	for i := 1; i < 3*most; i++ {
		w.Add(id(i), start.Add(time.Duration(i)*50*time.Millisecond), []payment.Satoshi{1})
		w.Remove(id(i))
	}
	if _, _, ok := w.Remove(id(0)); ok {
		t.Error("got the oldest transaction kept, want it removed, as removed ones use memory too")
	}
}

// TestWindow_BytesPerTransaction checks the documentation of New: about 200 bytes per transaction.
func TestWindow_BytesPerTransaction(t *testing.T) {
	const n = 100_000
	before := heap()
	w := window.New(3*time.Hour, 2*n)
	for i := range n {
		w.Add(id(i), start.Add(time.Duration(i)*100*time.Millisecond), []payment.Satoshi{1, 2})
	}
	if each := (heap() - before) / n; each > 250 {
		t.Errorf("got %d bytes per transaction, want fewer", each)
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
		t.Errorf("got %v allocations, want none", n)
	}
}

// TestWindow_All: it yields each held transaction once, the oldest first.
func TestWindow_All(t *testing.T) {
	w := window.New(3*time.Hour, 1000)
	for range w.All() {
		t.Error("got a transaction from an empty window, want none")
	}
	w.Add(id(1), start, []payment.Satoshi{1, 2})
	w.Add(id(2), start.Add(time.Minute), []payment.Satoshi{3})
	w.Add(id(3), start.Add(-time.Minute), nil)
	w.Remove(id(2))
	w.Add(id(2), start.Add(2*time.Minute), []payment.Satoshi{4}) // added again
	w.Remove(id(1))
	var got []chainhash.Hash
	for id, held := range w.All() {
		got = append(got, id)
		if len(got) == 2 && (!held.At.Equal(start.Add(2*time.Minute)) || !slices.Equal(held.Amounts, []payment.Satoshi{4})) {
			t.Errorf("got %+v, want the held transactions", held)
		}
	}
	if !slices.Equal(got, []chainhash.Hash{id(3), id(2)}) {
		t.Errorf("got %v, want 3 and 2", got)
	}
	if e := w.Empty(); e.Len() != 0 || !e.Add(id(2), start, nil) {
		t.Error("got transactions of the other window in an empty one, want none")
	}
}
