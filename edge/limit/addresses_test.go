package limit_test

import (
	"net/netip"
	"sync"
	"testing"

	"sightglass/edge/limit"
	"sightglass/edge/rejection"
)

func TestAddresses_SharedCount(t *testing.T) {
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

		"NAT64, the same IPv4":              {"192.0.2.1", "64:ff9b::192.0.2.1", true},
		"NAT64, another IPv4":               {"64:ff9b::192.0.2.2", "64:ff9b::192.0.2.1", false},
		"beside NAT64's /96":                {"64:ff9b::1:c000:201", "64:ff9b::2:c000:201", true},
		"beside NAT64's /96, no IPv4":       {"64:ff9b::1:c000:201", "192.0.2.1", false},
		"a circuit of tor":                  {"fc00:dead:beef:4dad::12:3456", "fc00:dead:beef:4dad::12:3456", true},
		"two circuits of tor":               {"fc00:dead:beef:4dad::12:3456", "fc00:dead:beef:4dad::12:3457", false},
		"NAT64 of a network's own":          {"64:ff9b:1:fffe::192.0.2.1", "64:ff9b:1:fffe::192.0.2.1", true},
		"NAT64 of a network's own, another": {"64:ff9b:1:fffe::192.0.2.1", "64:ff9b:1:fffe::192.0.2.2", false},
		"beside NAT64's own /48":            {"64:ff9b:2::1", "64:ff9b:2::2", true},
		"6to4, the IPv4 itself":             {"192.0.2.1", "2002:c000:201::1", true},
		"6to4, another /64 of one IPv4":     {"2002:c000:201:1::1", "2002:c000:201:ffff::1", true},
		"6to4, another IPv4":                {"2002:c000:201::1", "2002:c000:202::1", false},
		"Teredo, the IPv4 itself":           {"192.0.2.45", "2001:0:4136:e378:8000:63bf:3fff:fdd2", true},
		"Teredo, one server's others":       {"2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:4136:e378:8000:63bf:3fff:fdd1", false},
		"beside Teredo's /32":               {"2001:1:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45", false},
	} {
		t.Run(name, func(t *testing.T) {
			a := limit.NewAddresses(1)
			if a.Acquire(t.Context(), netip.MustParseAddr(c.first)) != rejection.None {
				t.Fatal("got the first connection rejected, want it accepted")
			}
			if got := a.Acquire(t.Context(), netip.MustParseAddr(c.second)) == rejection.None; got == c.shared {
				t.Errorf("got the second connection accepted: %v, want %v", got, !c.shared)
			}
		})
	}
}

func TestAddresses_LimitsUnknownAddress(t *testing.T) {
	a := limit.NewAddresses(1)
	if a.Acquire(t.Context(), netip.Addr{}) != rejection.None || a.Acquire(t.Context(), netip.Addr{}) == rejection.None {
		t.Error("got other results, want the first connection accepted and the second rejected")
	}
}

func TestAddresses_ReleaseFreesConnection(t *testing.T) {
	a, addr := limit.NewAddresses(10), netip.MustParseAddr("192.0.2.1")
	for range 10 {
		if a.Acquire(t.Context(), addr) != rejection.None {
			t.Fatal("got a rejection before the tenth connection, want none")
		}
	}
	if a.Acquire(t.Context(), addr) == rejection.None {
		t.Fatal("got the eleventh connection accepted, want it rejected")
	}
	a.Release(addr)
	if a.Acquire(t.Context(), addr) != rejection.None {
		t.Error("got a rejection after a release, want none")
	}
}

func TestAddresses_CountsReturnToZero(t *testing.T) {
	a := limit.NewAddresses(3)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 7)})
			if a.Acquire(t.Context(), addr) == rejection.None {
				a.Release(addr)
			}
		})
	}
	wg.Wait()
	if n, total := a.Len(), a.Total(); n != 0 || total != 0 {
		t.Errorf("got %d addresses with %d connections, want none", n, total)
	}
}
