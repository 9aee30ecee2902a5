package contract

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// An Epoch identifies one ingester's term as leader: a decimal number that rises from term to term, so that everyone agrees
// which of two snapshots is newer even when seq has started again. It is a string on the wire because a JavaScript number
// does not have 64 bits.
type Epoch string

// EpochAt is the epoch of an ingester that starts at t: the unix time in milliseconds. See EpochAfter for a
// restart.
func EpochAt(t time.Time) Epoch {
	return Epoch(strconv.FormatInt(t.UnixMilli(), 10))
}

// EpochAfter is the epoch of an ingester that starts at t and finds an older one's: later than that even if the clock
// was set back in between. Without a valid older one it is EpochAt(t).
func EpochAfter(old Epoch, t time.Time) Epoch {
	now := EpochAt(t)
	n, err := strconv.ParseUint(string(old), 10, 64)
	if err != nil || n == math.MaxUint64 || now.After(old) {
		return now
	}
	return Epoch(strconv.FormatUint(n+1, 10))
}

// Ahead is how far e is ahead of the time t, 0 if it is not: what is ahead was granted by a clock that was ahead of this
// one, or is counted on from such an epoch.
func (e Epoch) Ahead(t time.Time) time.Duration {
	ms, err := strconv.ParseUint(string(e), 10, 64)
	now := t.UnixMilli()
	if err != nil || now < 0 || ms <= uint64(now) {
		return 0
	}
	const most = uint64(math.MaxInt64 / time.Millisecond)
	return time.Duration(min(ms-uint64(now), most)) * time.Millisecond
}

// After reports whether e is a later term than old. Both must be valid; DecodeSnapshot rejects invalid ones.
func (e Epoch) After(old Epoch) bool {
	if len(e) != len(old) {
		return len(e) > len(old)
	}
	return e > old
}

// maxEpochDigits is the length of the largest uint64.
const maxEpochDigits = 20

func (e Epoch) validate() error {
	if e == "" || len(e) > maxEpochDigits || e[0] == '0' {
		return fmt.Errorf("%q is not a number of 1 to %d digits without leading zeros", clip(string(e)), maxEpochDigits)
	}
	for _, c := range []byte(e) {
		if c < '0' || c > '9' {
			return fmt.Errorf("%q is not a decimal number", clip(string(e)))
		}
	}
	return nil
}

// clip keeps an error message short whatever somebody put on the channel.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
