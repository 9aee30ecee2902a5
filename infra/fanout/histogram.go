package fanout

import (
	"math/bits"
	"time"
)

const (
	// stepBits makes 128 steps in each power of two, so that a duration is known to better than 0.8 %.
	stepBits = 7
	steps    = 1 << stepBits
)

// A Histogram counts durations. Its size is fixed, whatever it is given; negative ones count as zero.
type Histogram struct {
	count uint64
	max   time.Duration
	bins  [steps * (64 - stepBits)]uint64
}

// Add counts d.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.count++
	h.max = max(h.max, d)
	h.bins[binOf(d)]++
}

// Count is how many durations were added.
func (h *Histogram) Count() uint64 { return h.count }

// Max is the longest of them.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile is the duration that a share q of them does not exceed; 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(uint64(q*float64(h.count)+0.5), 1)
	var below uint64
	for i, n := range h.bins {
		if below += n; below >= rank {
			return min(topOf(i), h.max)
		}
	}
	return h.max
}

// binOf gives the first two powers' worth of durations a bin each; then bins double in width with each power of two.
func binOf(d time.Duration) int {
	v := uint64(d)
	shift := max(bits.Len64(v)-stepBits-1, 0)
	return shift<<stepBits + int(v>>shift)
}

// topOf is the longest duration of a bin.
func topOf(bin int) time.Duration {
	shift := max(bin>>stepBits-1, 0)
	return time.Duration((uint64(bin-shift<<stepBits)+1)<<shift - 1)
}
