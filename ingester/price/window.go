package price

import (
	"time"

	"sightglass/ingester/payment"
	"sightglass/shared/contract"
)

// windowMinutes is how long an output is kept: the window of the whole program.
// It is evidence for less, as the market moves on (see filter).
const windowMinutes = int64(contract.Window / time.Minute)

// pileLimit is how many outputs of one cell (0.1 %) count in one minute: more is
// one payer's batch or somebody's favourite amount, not many people's habit. With
// a whole block in one minute, 3 and 6 do about as well in 2018 and later, 10 and
// more much worse before, 1 much worse everywhere.
const pileLimit = 4

// minuteLimit bounds what one minute keeps, so that a flood costs 24 MB and not all memory: six blocks' outputs.
const minuteLimit = 1 << 16

// A cluster is a pile of amounts that are nearly the same: one payer who pays out of one coin over and over leaves change
// that shrinks by little from one transaction to the next, and a dozen of these in a minute look like a rung. Within
// clusterCells (0.8 %, as wide as a rung) a minute counts clusterFloor outputs and clusterFactor times what the background
// expects there. The crest of the $100 rung is about three times its surroundings.
const (
	clusterCells  = 8
	clusterFloor  = 4
	clusterFactor = 3
)

// bucket holds the outputs of one minute.
type bucket struct {
	minute int64
	cells  []uint16  // amount cells, in no order
	sum    *evidence // nil until needed, and again when out of date
}

// window is a ring of buckets, a minute each.
type window struct {
	buckets [windowMinutes]bucket
	newest  int64   // the newest minute seen
	counts  []int32 // outputs by amount cell
	total   int     // outputs
}

func newWindow() window {
	return window{counts: make([]int32, amountCells), newest: never}
}

// never is before every minute.
const never = -1 << 60

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
	for m := max(w.newest+1, minute-windowMinutes+1); m <= minute; m++ {
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

func (w *window) isEmpty(minute int64) bool {
	b := w.at(minute)
	return b == nil || len(b.cells) == 0
}

// meanAge is how old the outputs are, on average, at the end of a minute.
func (w *window) meanAge(minute int64) (minutes float64) {
	if w.total == 0 {
		return 0
	}
	sum := 0
	for _, b := range w.buckets {
		sum += len(b.cells) * int(minute-b.minute)
	}
	return float64(sum) / float64(w.total)
}

// add puts amounts into a bucket; impossible ones are left out, and those beyond its limit.
func (w *window) add(b *bucket, amounts []payment.Satoshi) {
	for _, a := range amounts {
		if c, ok := amountCell(a); ok && len(b.cells) < minuteLimit {
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
