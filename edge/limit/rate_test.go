package limit_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"sightglass/edge/limit"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func newRate(perMinute int) *limit.Rate { return limit.NewRate(perMinute) }

func TestAMinutesWorthThenSteadily(t *testing.T) {
	r, addr, now := newRate(60), netip.MustParseAddr("192.0.2.1"), start
	for i := range 60 {
		if wait := r.Take(now, addr); wait != 0 {
			t.Fatalf("number %d must wait %v", i+1, wait)
		}
	}
	if wait := r.Take(now, addr); wait != time.Second {
		t.Errorf("the 61st must wait %v, want 1s", wait)
	}
	if wait := r.Take(now.Add(time.Second/2), addr); wait != time.Second/2 {
		t.Errorf("half a second later it must wait %v more: being refused must not put it off", wait)
	}
	if wait := r.Take(now, netip.MustParseAddr("192.0.2.2")); wait != 0 {
		t.Errorf("another address must wait %v", wait)
	}
	for range 1000 {
		now = now.Add(time.Second)
		if wait := r.Take(now, addr); wait != 0 {
			t.Fatalf("one a second, and it must wait %v at %v", wait, now.Sub(start))
		}
		if wait := r.Take(now, addr); wait == 0 {
			t.Fatalf("two in a second were let through at %v", now.Sub(start))
		}
	}
}

func TestOneAMinute(t *testing.T) {
	r, addr := newRate(1), netip.MustParseAddr("2001:db8::1")
	if wait := r.Take(start, addr); wait != 0 {
		t.Errorf("the first must wait %v", wait)
	}
	if wait := r.Take(start.Add(time.Second), netip.MustParseAddr("2001:db8::2")); wait != 59*time.Second {
		t.Errorf("the second of the same /64 must wait %v, want 59s", wait)
	}
	if wait := r.Take(start.Add(time.Minute), addr); wait != 0 {
		t.Errorf("after a minute it must wait %v", wait)
	}
}

// TestQuietAddressesAreForgotten, and only those: memory is bounded by who was here in the last minutes.
func TestQuietAddressesAreForgotten(t *testing.T) {
	r, busy, now := newRate(10), netip.MustParseAddr("198.51.100.1"), start
	for range 10 {
		r.Take(now, busy)
	}
	for i := range 10_000 {
		now = now.Add(100 * time.Millisecond)
		r.Take(now, nth(i))
		if wait := r.Take(now, busy); now.Sub(start)%(6*time.Second) == 0 != (wait == 0) {
			t.Fatalf("after %v the busy one must wait %v", now.Sub(start), wait)
		}
	}
	if n := r.Len(); n > 2*610 {
		t.Errorf("%d addresses are remembered, though no more than 600 came in a minute", n)
	}
}

// TestAFloodOfAddressesTakesBoundedMemory, all within no time, as from an attacker with an IPv6 /32.
func TestAFloodOfAddressesTakesBoundedMemory(t *testing.T) {
	r := newRate(10)
	for i := range 1_000_000 {
		r.Take(start, nth(i))
	}
	if n := r.Len(); n > 1<<17 {
		t.Errorf("%d addresses are remembered", n)
	}
}

// nth is an address of the n-th /64.
func nth(n int) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint32(a[:], 0x20010db8)
	binary.BigEndian.PutUint32(a[4:], uint32(n))
	return netip.AddrFrom16(a)
}

func BenchmarkRate(b *testing.B) {
	r := newRate(60)
	b.ReportAllocs()
	for i := range b.N {
		r.Take(start, nth(i%1000))
	}
}
