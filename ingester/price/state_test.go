package price

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"testing"
	"time"
)

// settledState returns a state after half an hour at 50,000 dollars, and its time.
func settledState(t testing.TB) ([]byte, time.Time) {
	e := newEngine(t, Options{})
	end := play(e, newCrowd(30), 0, 1800, always(50_000), nil)
	e.Estimate(second(end))
	return e.State(), second(end)
}

func TestState_RoundTrip(t *testing.T) {
	state, now := settledState(t)
	e := newEngine(t, Options{})
	if err := e.Restore(state, now.Add(10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	got := e.Estimate(now.Add(10 * time.Minute))
	if off(got.Price, 50_000) > 0.005 || got.Status != Live {
		t.Errorf("resumed at %+v", got)
	}
	end := play(e, newCrowd(31), 2400, 300, always(50_500), nil)
	if got := e.Estimate(second(end)); off(got.Price, 50_500) > 0.005 {
		t.Errorf("five minutes on: %+v", got)
	}
}

// TestRestore_CountsNothingTwice adds after a restart what the state has seen.
func TestRestore_CountsNothingTwice(t *testing.T) {
	state, now := settledState(t)
	e := newEngine(t, Options{})
	if err := e.Restore(state, now); err != nil {
		t.Fatal(err)
	}
	before := e.Estimate(now)
	play(e, newCrowd(32), 0, 1799, always(40_000), nil)
	after := e.Estimate(now)
	if off(after.Price, float64(before.Price)) > 0.001 || after.Outputs == 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func TestState_NoneAtFirst(t *testing.T) {
	if s := newEngine(t, Options{}).State(); s != nil {
		t.Errorf("%d bytes", len(s))
	}
}

func TestState_NoneInFirstMinute(t *testing.T) {
	e := newEngine(t, Options{})
	end := play(e, newCrowd(32), 0, 30, always(50_000), nil)
	e.Estimate(second(end))
	if s := e.State(); s != nil {
		t.Errorf("%d bytes", len(s))
	}
}

// TestState_OfRestoredEngine is of an engine that was started twice within a minute, or hears of nothing at all.
func TestState_OfRestoredEngine(t *testing.T) {
	state, now := settledState(t)
	first, second := newEngine(t, Options{}), newEngine(t, Options{})
	if err := first.Restore(state, now); err != nil {
		t.Fatal(err)
	}
	first.Estimate(now)
	if err := second.Restore(first.State(), now); err != nil {
		t.Fatal(err)
	}
	if got := second.Estimate(now); off(got.Price, 50_000) > 0.005 || got.Status != Live {
		t.Errorf("resumed at %+v", got)
	}
}

func TestRestore_RejectsBadState(t *testing.T) {
	state, now := settledState(t)
	change := func(f func(s []byte)) []byte {
		s := slices.Clone(state)
		f(s)
		binary.LittleEndian.PutUint32(s[len(s)-4:], crc32.ChecksumIEEE(s[:len(s)-4]))
		return s
	}
	firstBelief := stateHeader + 8
	tests := []struct {
		name  string
		state []byte
		now   time.Time
		want  error
	}{
		{"nothing", nil, now, ErrStateAlien},
		{"something else", []byte(`{"price": 50000, "and": "so on and so on"}`), now, ErrStateAlien},
		{"another version", change(func(s []byte) { s[len(stateMagic)]++ }), now, ErrStateAlien},
		{"cut short", state[:len(state)-1], now, ErrStateBroken},
		{"too long", append(slices.Clone(state), 0), now, ErrStateBroken},
		{"a bit turned", func() []byte { s := slices.Clone(state); s[5000] ^= 1; return s }(), now, ErrStateBroken},
		{"no number", change(func(s []byte) {
			binary.LittleEndian.PutUint32(s[firstBelief:], math.Float32bits(float32(math.NaN())))
		}), now, ErrStateBroken},
		{"negative belief", change(func(s []byte) {
			binary.LittleEndian.PutUint32(s[firstBelief:], math.Float32bits(-0.1))
		}), now, ErrStateBroken},
		{"no belief", change(func(s []byte) { clear(s[firstBelief : firstBelief+4*priceCells]) }), now, ErrStateBroken},
		{"from the future", state, now.Add(-time.Hour), ErrStateBroken},
		{"from beyond time", change(func(s []byte) { binary.LittleEndian.PutUint64(s[stateHeader:], 1<<63) }), now, ErrStateStale},
		{"too old", state, now.Add(3 * time.Hour), ErrStateStale},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEngine(t, Options{})
			if err := e.Restore(tt.state, tt.now); !errors.Is(err, tt.want) {
				t.Errorf("Restore = %v, want %v", err, tt.want)
			}
			if got := e.Estimate(now); got != (Estimate{}) {
				t.Errorf("the engine was changed: %+v", got)
			}
		})
	}
	t.Run("after transactions", func(t *testing.T) {
		e := newEngine(t, Options{})
		e.Add(now, newCrowd(1).pay(50_000))
		if err := e.Restore(state, now); !errors.Is(err, ErrStateLate) {
			t.Errorf("Restore = %v", err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	state, now := settledState(f)
	f.Add(state)
	f.Add(state[:100])
	f.Fuzz(func(t *testing.T, s []byte) {
		e := newEngine(t, Options{})
		if len(s) == stateSize { // get past the checksum
			s = slices.Clone(s)
			binary.LittleEndian.PutUint32(s[stateSize-4:], crc32.ChecksumIEEE(s[:stateSize-4]))
		}
		err := e.Restore(s, now)
		got := e.Estimate(now)
		if err != nil && got != (Estimate{}) {
			t.Errorf("refused with %v, yet %+v", err, got)
		}
		if !(got.Confidence >= 0 && got.Confidence <= 1 && got.Price >= 0 && got.Low <= got.Price && got.Price <= got.High) {
			t.Errorf("%+v", got)
		}
	})
}
