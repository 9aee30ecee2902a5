package fanout

import (
	"math/bits"
	"time"
)

const (
	// stepBits divides each power of two into 128 bins, so that the relative error is below 0.8 %.
	stepBits = 7
	steps    = 1 << stepBits
)

// A Histogram counts durations in bins of fixed relative width. Negative durations count as zero.
type Histogram struct {
	count uint64
	max   time.Duration
	bins  [steps * (64 - stepBits)]uint64
}

// Add adds one duration.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.count++
	h.max = max(h.max, d)
	h.bins[binOf(d)]++
}

// Count returns the number of durations.
func (h *Histogram) Count() uint64 { return h.count }

// Max returns the longest duration.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the q-quantile, rounded up by at most 0.8 %, or 0 if the histogram is empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(uint64(q*float64(h.count)+0.5), 1)
	var below uint64
	for i, n := range h.bins {
		if below += n; below >= rank {
			return min(binMax(i), h.max)
		}
	}
	return h.max
}

// binOf returns the index of the bin that contains d. The first 256 bins are 1 ns wide; then the width doubles with each
// power of two.
func binOf(d time.Duration) int {
	v := uint64(d)
	shift := max(bits.Len64(v)-stepBits-1, 0)
	return shift<<stepBits + int(v>>shift)
}

// binMax returns the longest duration in a bin.
func binMax(bin int) time.Duration {
	shift := max(bin>>stepBits-1, 0)
	return time.Duration((uint64(bin-shift<<stepBits)+1)<<shift - 1)
}
