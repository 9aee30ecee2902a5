package limit_test

import (
	"net/netip"
	"sync"
	"testing"

	"sightglass/edge/limit"
	"sightglass/edge/refusal"
)

func TestWhoSharesACount(t *testing.T) {
	for name, c := range map[string]struct {
		first, second string
		shared        bool
	}{
		"the same IPv4":            {"192.0.2.1", "192.0.2.1", true},
		"another IPv4":             {"192.0.2.1", "192.0.2.2", false},
		"IPv4 written as IPv6":     {"192.0.2.1", "::ffff:192.0.2.1", true},
		"the same IPv6 /64":        {"2001:db8::1", "2001:db8::ffff:2", true},
		"another IPv6 /64":         {"2001:db8::1", "2001:db8:0:1::1", false},
		"the same link-local zone": {"fe80::1%eth0", "fe80::1%eth1", true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAddresses(1)
			if !a.Acquire(t.Context(), netip.MustParseAddr(c.first)) {
				t.Fatal("the first connection was refused")
			}
			if got := a.Acquire(t.Context(), netip.MustParseAddr(c.second)); got == c.shared {
				t.Errorf("the second connection: accepted %v", got)
			}
		})
	}
}

func TestUnknownAddressesAreLimitedToo(t *testing.T) {
	a := newAddresses(1)
	if !a.Acquire(t.Context(), netip.Addr{}) || a.Acquire(t.Context(), netip.Addr{}) {
		t.Error("want the first accepted and the second refused")
	}
}

func TestReleaseMakesRoom(t *testing.T) {
	a, addr := newAddresses(10), netip.MustParseAddr("192.0.2.1")
	for range 10 {
		if !a.Acquire(t.Context(), addr) {
			t.Fatal("refused before the tenth")
		}
	}
	if a.Acquire(t.Context(), addr) {
		t.Fatal("the eleventh was accepted")
	}
	a.Release(addr)
	if !a.Acquire(t.Context(), addr) {
		t.Error("no room after one left")
	}
}

func TestCountsEndAtZero(t *testing.T) {
	a := newAddresses(3)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 7)})
			if a.Acquire(t.Context(), addr) {
				a.Release(addr)
			}
		})
	}
	wg.Wait()
	if n, total := a.Len(), a.Total(); n != 0 || total != 0 {
		t.Errorf("%d addresses still hold %d connections", n, total)
	}
}

func newAddresses(most int) *limit.Addresses { return limit.NewAddresses(most, nil, refusal.Address) }
