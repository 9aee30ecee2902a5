package contract

import (
	"testing"
	"time"
)

// TestEpoch_Ahead: how far an epoch is ahead of a clock, however large or broken either is.
func TestEpoch_Ahead(t *testing.T) {
	now := time.UnixMilli(1_795_450_122_889)
	for epoch, want := range map[Epoch]time.Duration{
		"1795450122889":        0,
		"1795450122890":        time.Millisecond,
		"1795450122888":        0,
		"1795536522889":        24 * time.Hour,
		"18446744073709551615": (1<<63 - 1) / time.Millisecond * time.Millisecond, // the largest
		"":                     0,
		"x":                    0,
	} {
		if got := epoch.Ahead(now); got != want {
			t.Errorf("%q: got %v, want %v", epoch, got, want)
		}
	}
	if got := Epoch("1").Ahead(time.Unix(-1, 0)); got != 0 {
		t.Errorf("before 1970: got %v, want 0", got)
	}
}
