package contract

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// An Epoch identifies one ingester's term as leader: a decimal number that increases with each term, so that the newer
// of two snapshots is known although seq starts again. It is a string in JSON because a JavaScript number does not have
// 64 bits.
type Epoch string

// EpochAt returns the epoch of an ingester that starts at t without an earlier epoch: unix milliseconds.
func EpochAt(t time.Time) Epoch {
	return Epoch(strconv.FormatInt(t.UnixMilli(), 10))
}

// EpochAfter returns the epoch of an ingester that starts at t after the epoch old: higher than old even if the clock
// was set back in between. If old is invalid, it returns EpochAt(t).
func EpochAfter(old Epoch, t time.Time) Epoch {
	now := EpochAt(t)
	n, err := strconv.ParseUint(string(old), 10, 64)
	if err != nil || n == math.MaxUint64 || now.After(old) {
		return now
	}
	return Epoch(strconv.FormatUint(n+1, 10))
}

// Ahead returns how far e is ahead of t, 0 if it is not. An epoch is ahead if the clock at its election was ahead, or
// if it was counted on from such an epoch.
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

// clip bounds the length of an error about input from the channel, in bytes.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
