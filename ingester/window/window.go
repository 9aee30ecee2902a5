// Package window holds the transactions of the last hours, so that each counts once, and their payments, so that the
// evidence of a replaced one can be removed.
package window

import (
	"iter"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/payment"
)

// slotSpan is the step in which the window advances. A transaction expires at most this much late. A window of 3 h has
// 1,081 slots.
const slotSpan = 10 * time.Second

// A Window is a ring of slots, one per slotSpan of time. Transactions expire with their slot, so a tick costs as much
// as what expires. It is for one goroutine.
type Window struct {
	slots  []slot
	newest int64 // number of the newest slot, in slotSpans since 1970
	index  map[chainhash.Hash]place
	most   int
	held   int // entries in the slots, including removed ones, which still use memory
	active int
}

// A slot stores its transactions' amounts in one slice: a slice per transaction would cost more than the amounts.
type slot struct {
	entries []entry
	amounts []payment.Satoshi
}

type entry struct {
	id    chainhash.Hash
	at    int64  // unix nanoseconds
	first uint32 // index of its first amount in the slot
	count uint32
}

type place struct {
	slot  int32
	entry int32
}

// New returns a window over the last span. It holds at most most transactions. Above that the oldest slot is dropped
// early, so memory is bounded whatever the node sends (about 200 bytes per transaction).
func New(span time.Duration, most int) *Window {
	return sized(int(span/slotSpan)+1, most)
}

func sized(slots, most int) *Window {
	return &Window{slots: make([]slot, slots), index: make(map[chainhash.Hash]place), most: most}
}

// Add adds a transaction seen at the given time, with its payments, which may be none. It returns false and changes
// nothing if the transaction is known already or older than the window.
func (w *Window) Add(id chainhash.Hash, at time.Time, amounts []payment.Satoshi) bool {
	if _, known := w.index[id]; known {
		return false
	}
	number := at.UnixNano() / int64(slotSpan)
	w.advance(number)
	if number <= w.newest-int64(len(w.slots)) {
		return false
	}
	if w.held >= w.most {
		w.dropOldest()
	}
	w.held++
	i := w.at(number)
	s := &w.slots[i]
	w.index[id] = place{slot: int32(i), entry: int32(len(s.entries))}
	s.entries = append(s.entries, entry{
		id: id, at: at.UnixNano(), first: uint32(len(s.amounts)), count: uint32(len(amounts)),
	})
	s.amounts = append(s.amounts, amounts...)
	if len(amounts) > 0 {
		w.active++
	}
	return true
}

// Remove removes a transaction and returns when it was seen and its payments, which are valid until the next call. It
// returns false if the window does not hold the transaction.
func (w *Window) Remove(id chainhash.Hash) (at time.Time, amounts []payment.Satoshi, ok bool) {
	p, known := w.index[id]
	if !known {
		return time.Time{}, nil, false
	}
	delete(w.index, id)
	s := &w.slots[p.slot]
	e := &s.entries[p.entry]
	amounts = s.amounts[e.first : e.first+e.count]
	if e.count > 0 {
		w.active--
		e.count = 0
	}
	return time.Unix(0, e.at), amounts, true
}

// Expire drops transactions older than the window at now.
func (w *Window) Expire(now time.Time) { w.advance(now.UnixNano() / int64(slotSpan)) }

// Empty returns an empty window of the same span and size.
func (w *Window) Empty() *Window {
	return sized(len(w.slots), w.most)
}

// A Held is a transaction in the window: when it was seen, and its payments, which are valid until the window changes.
type Held struct {
	At      time.Time
	Amounts []payment.Satoshi
}

// All iterates over the transactions in the window, starting with the oldest slot.
func (w *Window) All() iter.Seq2[chainhash.Hash, Held] {
	return func(yield func(chainhash.Hash, Held) bool) {
		for n := max(0, w.newest-int64(len(w.slots))+1); n <= w.newest; n++ {
			i := w.at(n)
			s := &w.slots[i]
			for j, e := range s.entries {
				if p, ok := w.index[e.id]; !ok || p != (place{slot: int32(i), entry: int32(j)}) {
					continue // it was removed
				}
				if !yield(e.id, Held{At: time.Unix(0, e.at), Amounts: s.amounts[e.first : e.first+e.count]}) {
					return
				}
			}
		}
	}
}

// Len returns the number of transactions, with payments or without.
func (w *Window) Len() int { return len(w.index) }

// Active returns the number of transactions with payments.
func (w *Window) Active() int { return w.active }

func (w *Window) at(number int64) int { return int(number % int64(len(w.slots))) }

// advance makes number the newest slot. Time never goes back.
func (w *Window) advance(number int64) {
	if number <= w.newest {
		return
	}
	steps := min(number-w.newest, int64(len(w.slots)))
	for n := number - steps + 1; n <= number; n++ {
		w.empty(w.at(n))
	}
	w.newest = number
}

// dropOldest empties the oldest slot that has transactions.
func (w *Window) dropOldest() {
	for n := w.newest - int64(len(w.slots)) + 1; n <= w.newest; n++ {
		if i := w.at(n); len(w.slots[i].entries) > 0 {
			w.empty(i)
			return
		}
	}
}

// keep is the capacity in entries that an emptied slot keeps: enough for 100 transactions a second. What a burst needed
// beyond that is freed.
const keep = 1024

func (w *Window) empty(i int) {
	s := &w.slots[i]
	w.held -= len(s.entries)
	for n := range s.entries {
		e := &s.entries[n]
		// A transaction that was removed may have been added again, in another slot.
		if p, ok := w.index[e.id]; ok && p == (place{slot: int32(i), entry: int32(n)}) {
			delete(w.index, e.id)
			if e.count > 0 {
				w.active--
			}
		}
	}
	if cap(s.entries) > keep {
		*s = slot{}
		return
	}
	s.entries, s.amounts = s.entries[:0], s.amounts[:0]
}
