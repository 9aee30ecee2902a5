package price

import "sightglass/ingester/payment"

// windowMinutes is how long an output is evidence.
const windowMinutes = 180

// pileLimit is how many outputs of one cell count in one minute: more is one
// payer's batch or somebody's favourite amount, not many people's habit.
const pileLimit = 4

// bucket holds the outputs of one minute.
type bucket struct {
	minute int64
	cells  []uint16  // amount cells, in no order
	sum    *evidence // nil until needed, and again when out of date
}

// window is a ring of buckets, a minute each.
type window struct {
	buckets [windowMinutes]bucket
	newest  int64 // the newest minute seen
	counts  []int32
	total   int
}

func newWindow() window {
	return window{counts: make([]int32, amountCells), newest: minNever}
}

// minNever is before every minute.
const minNever = -1 << 40

func (w *window) oldest() int64 { return w.newest - windowMinutes + 1 }

// at returns the bucket of a minute, nil if it is not in the window.
func (w *window) at(minute int64) *bucket {
	if minute > w.newest || minute < w.oldest() {
		return nil
	}
	b := &w.buckets[slot(minute)]
	if b.minute != minute {
		return nil
	}
	return b
}

func slot(minute int64) int64 {
	return (minute%windowMinutes + windowMinutes) % windowMinutes
}

// advance moves the window's end, forgetting what is too old.
func (w *window) advance(minute int64, pool *evidencePool) {
	if minute <= w.newest {
		return
	}
	from := max(w.newest+1, minute-windowMinutes+1)
	for m := from; m <= minute; m++ {
		b := &w.buckets[slot(m)]
		for _, c := range b.cells {
			w.counts[c]--
		}
		w.total -= len(b.cells)
		pool.put(b.sum)
		*b = bucket{minute: m, cells: b.cells[:0]}
	}
	w.newest = minute
}

func (w *window) add(b *bucket, amounts []payment.Satoshi) {
	for _, a := range amounts {
		if c, ok := amountCell(a); ok {
			b.cells = append(b.cells, c)
			w.counts[c]++
			w.total++
		}
	}
}

// remove takes amounts out of a bucket and returns how many there were.
func (w *window) remove(b *bucket, amounts []payment.Satoshi) (removed int) {
	for _, a := range amounts {
		c, ok := amountCell(a)
		if !ok {
			continue
		}
		last := len(b.cells) - 1
		for i := last; i >= 0; i-- {
			if b.cells[i] == c {
				b.cells[i] = b.cells[last]
				b.cells = b.cells[:last]
				w.counts[c]--
				w.total--
				removed++
				break
			}
		}
	}
	return removed
}
