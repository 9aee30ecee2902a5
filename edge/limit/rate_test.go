package limit_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"sightglass/edge/limit"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func TestRate_AllowsBurstThenSteadyRate(t *testing.T) {
	r, addr, now := limit.NewRate(60), netip.MustParseAddr("192.0.2.1"), start
	for i := range 60 {
		if wait := r.Take(now, addr); wait != 0 {
			t.Fatalf("use %d: got a wait of %v, want none", i+1, wait)
		}
	}
	if wait := r.Take(now, addr); wait != time.Second {
		t.Errorf("the 61st use: got a wait of %v, want 1s", wait)
	}
	if wait := r.Take(now.Add(time.Second/2), addr); wait != time.Second/2 {
		t.Errorf("half a second later: got a wait of %v, want 500ms, as a rejected use does not count", wait)
	}
	if wait := r.Take(now, netip.MustParseAddr("192.0.2.2")); wait != 0 {
		t.Errorf("another address: got a wait of %v, want none", wait)
	}
	for range 1000 {
		now = now.Add(time.Second)
		if wait := r.Take(now, addr); wait != 0 {
			t.Fatalf("one use a second: got a wait of %v at %v, want none", wait, now.Sub(start))
		}
		if wait := r.Take(now, addr); wait == 0 {
			t.Fatalf("got two uses in a second allowed at %v, want one", now.Sub(start))
		}
	}
}

func TestRate_OnePerMinute(t *testing.T) {
	r, addr := limit.NewRate(1), netip.MustParseAddr("2001:db8::1")
	if wait := r.Take(start, addr); wait != 0 {
		t.Errorf("the first use: got a wait of %v, want none", wait)
	}
	if wait := r.Take(start.Add(time.Second), netip.MustParseAddr("2001:db8::2")); wait != 59*time.Second {
		t.Errorf("the second use of the same /64: got a wait of %v, want 59s", wait)
	}
	if wait := r.Take(start.Add(time.Minute), addr); wait != 0 {
		t.Errorf("after a minute: got a wait of %v, want none", wait)
	}
}

// TestRate_ForgetsIdleAddresses: and no others, so that memory is bounded by the addresses of the last minutes.
func TestRate_ForgetsIdleAddresses(t *testing.T) {
	r, busy, now := limit.NewRate(10), netip.MustParseAddr("198.51.100.1"), start
	for range 10 {
		r.Take(now, busy)
	}
	for i := range 10_000 {
		now = now.Add(100 * time.Millisecond)
		r.Take(now, nth(i))
		if wait := r.Take(now, busy); now.Sub(start)%(6*time.Second) == 0 != (wait == 0) {
			t.Fatalf("after %v: got a wait of %v for the busy address, want none", now.Sub(start), wait)
		}
	}
	if n := r.Len(); n > 2*610 {
		t.Errorf("got %d addresses with a bucket, want at most 1220, as 600 arrive in a minute", n)
	}
}

// TestRate_MemoryIsBounded: under a flood of addresses at one time, as from an attacker with an IPv6 /32.
func TestRate_MemoryIsBounded(t *testing.T) {
	r := limit.NewRate(10)
	for i := range 1_000_000 {
		r.Take(start, nth(i))
	}
	if n := r.Len(); n > 1<<17 {
		t.Errorf("got %d addresses with a bucket, want at most 131072", n)
	}
}

// nth returns an address of the n-th /64.
func nth(n int) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint32(a[:], 0x20010db8)
	binary.BigEndian.PutUint32(a[4:], uint32(n))
	return netip.AddrFrom16(a)
}

func BenchmarkRate(b *testing.B) {
	r := limit.NewRate(60)
	b.ReportAllocs()
	for i := range b.N {
		r.Take(start, nth(i%1000))
	}
}
