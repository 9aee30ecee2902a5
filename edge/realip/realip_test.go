package realip_test

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"sightglass/edge/realip"
)

// trusted are the proxies of these tests: a load balancer's network, a cache, an IPv6 network.
var trusted = []string{"10.0.0.0/8", "192.0.2.10", "2001:db8:aaaa::/48"}

func proxies(t testing.TB, list ...string) realip.Proxies {
	t.Helper()
	p, err := realip.ParseProxies(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func lines(s ...string) [][]byte {
	var all [][]byte
	for _, line := range s {
		all = append(all, []byte(line))
	}
	return all
}

func TestProxies_ForwardedFor(t *testing.T) {
	for name, c := range map[string]struct {
		peer, want string
		lines      [][]byte
	}{
		"no header":                   {"10.0.0.1", "10.0.0.1", nil},
		"an untrusted address forges": {"203.0.113.9", "203.0.113.9", lines("198.51.100.1")},
		"one proxy":                   {"10.0.0.1", "198.51.100.1", lines("198.51.100.1")},
		"forged before a proxy's":     {"10.0.0.1", "198.51.100.1", lines("6.6.6.6, 198.51.100.1")},
		"a chain of proxies":          {"10.0.0.1", "198.51.100.1", lines("6.6.6.6, 198.51.100.1, 192.0.2.10,10.2.3.4")},
		"only proxies":                {"10.0.0.1", "10.9.9.9", lines("10.9.9.9, 10.2.3.4")},
		"several lines are one list":  {"10.0.0.1", "198.51.100.1", lines("6.6.6.6", "198.51.100.1", "192.0.2.10")},
		"forged in a separate line":   {"10.0.0.1", "198.51.100.1", lines("6.6.6.6, 10.0.0.2", "198.51.100.1")},
		"spaces and tabs":             {"10.0.0.1", "198.51.100.1", lines(" \t 198.51.100.1 \t ,  10.0.0.2   ")},
		"a port":                      {"10.0.0.1", "198.51.100.1", lines("198.51.100.1:4711")},
		"IPv6":                        {"10.0.0.1", "2001:db8::1", lines("2001:db8::1")},
		"IPv6 in brackets":            {"10.0.0.1", "2001:db8::1", lines("[2001:db8::1]")},
		"IPv6 with a port":            {"10.0.0.1", "2001:db8::1", lines("[2001:db8::1]:4711")},
		"a proxy of IPv6":             {"2001:db8:aaaa::1", "198.51.100.1", lines("198.51.100.1")},
		"IPv4 written as IPv6":        {"10.0.0.1", "198.51.100.1", lines("::ffff:198.51.100.1")},
		"a proxy written as IPv6":     {"10.0.0.1", "198.51.100.1", lines("198.51.100.1, ::ffff:10.0.0.2")},
		"the longest address":         {"10.0.0.1", "2001:db8:1111:2222:3333:4444:5555:6666", lines("[2001:0db8:1111:2222:3333:4444:5555:6666]:65535")},
		"garbage":                     {"10.0.0.1", "10.0.0.1", lines("garbage")},
		"garbage after the client":    {"10.0.0.1", "10.0.0.2", lines("198.51.100.1, garbage, 10.0.0.2")},
		"garbage before the client":   {"10.0.0.1", "198.51.100.1", lines("garbage, 198.51.100.1")},
		"empty":                       {"10.0.0.1", "10.0.0.1", lines("")},
		"an empty entry":              {"10.0.0.1", "10.0.0.2", lines("198.51.100.1,,10.0.0.2")},
		"an empty last entry":         {"10.0.0.1", "10.0.0.1", lines("198.51.100.1, ")},
		"an empty line before":        {"10.0.0.1", "198.51.100.1", lines("", "198.51.100.1")},
		"unknown":                     {"10.0.0.1", "10.0.0.1", lines("6.6.6.6, unknown")},
		"a hidden name":               {"10.0.0.1", "10.0.0.1", lines("6.6.6.6, _hidden")},
		"a zone":                      {"10.0.0.1", "10.0.0.1", lines("fe80::1%eth0")},
		"a zone of a proxy":           {"10.0.0.1", "10.0.0.1", lines("6.6.6.6, 2001:db8:aaaa::2%1")},
		"octal":                       {"10.0.0.1", "10.0.0.1", lines("010.0.0.1")},
		"a decimal":                   {"10.0.0.1", "10.0.0.1", lines("3325256705")},
		"a CIDR":                      {"10.0.0.1", "10.0.0.1", lines("198.51.100.0/24")},
		"a port too large":            {"10.0.0.1", "10.0.0.1", lines("198.51.100.1:65536")},
		"no port after the colon":     {"10.0.0.1", "10.0.0.1", lines("198.51.100.1:")},
		"an open bracket":             {"10.0.0.1", "10.0.0.1", lines("[2001:db8::1")},
		"IPv4 in brackets":            {"10.0.0.1", "10.0.0.1", lines("[198.51.100.1]")},
		"text after the bracket":      {"10.0.0.1", "10.0.0.1", lines("[2001:db8::1]x")},
		"a NUL":                       {"10.0.0.1", "10.0.0.1", lines("198.51.100.1\x00")},
		"10,000 forged":               {"10.0.0.1", "198.51.100.1", lines(strings.Repeat("6.6.6.6, ", 10_000) + "198.51.100.1")},
		"10,000 lines":                {"10.0.0.1", "198.51.100.1", append(lines(slicesOf("6.6.6.6", 10_000)...), []byte("198.51.100.1"))},
		"10,000 proxies":              {"10.0.0.1", "198.51.100.1", lines("198.51.100.1" + strings.Repeat(", 10.0.0.2", 10_000))},
		"an entry of a megabyte":      {"10.0.0.1", "10.0.0.1", lines("198.51.100.1" + strings.Repeat("0", 1<<20))},
	} {
		t.Run(name, func(t *testing.T) {
			got := proxies(t, trusted...).ForwardedFor(netip.MustParseAddr(c.peer), c.lines)
			if got != netip.MustParseAddr(c.want) {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func slicesOf(s string, n int) []string { return strings.Split(strings.Repeat(s+"\n", n-1)+s, "\n") }

func TestProxies_Forwarded(t *testing.T) {
	for name, c := range map[string]struct {
		peer, want string
		lines      [][]byte
	}{
		"an untrusted address forges":  {"203.0.113.9", "203.0.113.9", lines("for=198.51.100.1")},
		"one proxy":                    {"10.0.0.1", "198.51.100.1", lines("for=198.51.100.1")},
		"other pairs around it":        {"10.0.0.1", "198.51.100.1", lines("proto=https;for=198.51.100.1;by=10.0.0.1;host=a.example")},
		"spaces":                       {"10.0.0.1", "198.51.100.1", lines(" for=198.51.100.1 ; proto=https ")},
		"any case":                     {"10.0.0.1", "198.51.100.1", lines("FOR=198.51.100.1")},
		"quoted":                       {"10.0.0.1", "198.51.100.1", lines(`for="198.51.100.1"`)},
		"quoted with a port":           {"10.0.0.1", "198.51.100.1", lines(`for="198.51.100.1:4711"`)},
		"IPv6":                         {"10.0.0.1", "2001:db8:cafe::17", lines(`For="[2001:db8:cafe::17]"`)},
		"IPv6 with a port":             {"10.0.0.1", "2001:db8:cafe::17", lines(`For="[2001:db8:cafe::17]:4711"`)},
		"a hidden port":                {"10.0.0.1", "2001:db8:cafe::17", lines(`For="[2001:db8:cafe::17]:_gazonk"`)},
		"a chain":                      {"10.0.0.1", "198.51.100.1", lines("for=6.6.6.6, for=198.51.100.1;by=10.0.0.7, for=10.0.0.7")},
		"several lines are one list":   {"10.0.0.1", "198.51.100.1", lines("for=6.6.6.6", "for=198.51.100.1", "for=10.0.0.7")},
		"a comma in quotes":            {"10.0.0.1", "198.51.100.1", lines(`for=198.51.100.1, by="a,b";for=10.0.0.7`)},
		"a semicolon in quotes":        {"10.0.0.1", "198.51.100.1", lines(`by="a;for=6.6.6.6";for=198.51.100.1`)},
		"an escaped quote":             {"10.0.0.1", "198.51.100.1", lines(`by="a\",for=6.6.6.6";for=198.51.100.1`)},
		"a client opens a quote":       {"10.0.0.1", "198.51.100.1", lines(`for="6.6.6.6, for=198.51.100.1`)},
		"a client ends in a backslash": {"10.0.0.1", "198.51.100.1", lines(`for="6.6.6.6\, for="198.51.100.1"`)},
		"unknown":                      {"10.0.0.1", "10.0.0.1", lines("for=6.6.6.6, for=unknown")},
		"a hidden name":                {"10.0.0.1", "10.0.0.1", lines(`for=6.6.6.6, for="_hidden"`)},
		"no for":                       {"10.0.0.1", "10.0.0.1", lines("for=6.6.6.6, proto=https")},
		"a repeated for":               {"10.0.0.1", "10.0.0.1", lines("for=6.6.6.6;for=198.51.100.1")},
		"no value":                     {"10.0.0.1", "10.0.0.1", lines("for=")},
		"no pair":                      {"10.0.0.1", "10.0.0.1", lines("for")},
		"empty":                        {"10.0.0.1", "10.0.0.1", lines("")},
		"one quote":                    {"10.0.0.1", "10.0.0.1", lines(`for="`)},
		"a zone":                       {"10.0.0.1", "10.0.0.1", lines(`for="[fe80::1%eth0]"`)},
		"10,000 forged":                {"10.0.0.1", "198.51.100.1", lines(strings.Repeat("for=6.6.6.6, ", 10_000) + "for=198.51.100.1")},
	} {
		t.Run(name, func(t *testing.T) {
			got := proxies(t, trusted...).Forwarded(netip.MustParseAddr(c.peer), c.lines)
			if got != netip.MustParseAddr(c.want) {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func TestProxies_ZeroValueTrustsNone(t *testing.T) {
	peer := netip.MustParseAddr("127.0.0.1")
	var none realip.Proxies
	if got := none.ForwardedFor(peer, lines("198.51.100.1")); got != peer {
		t.Errorf("got %v, want the peer", got)
	}
}

func TestParseProxies_ValidatesEntries(t *testing.T) {
	for entry, wrong := range map[string]string{
		"10.0.0.0/8":           "",
		" 192.0.2.1 ":          "",
		"2001:db8::/32":        "",
		"2001::/16":            "",
		"::1":                  "",
		"::ffff:10.0.0.0/104":  "",
		"0.0.0.0/0":            "broader than /8",
		"10.0.0.0/7":           "broader than /8",
		"::/0":                 "broader than /16",
		"2000::/15":            "broader than /16",
		"::ffff:0.0.0.0/96":    "broader than /8",
		"::ffff:10.0.0.0/103":  "broader than /8",
		"10.1.2.3/8":           "want 10.0.0.0/8",
		"":                     "want an address or a CIDR",
		"proxy.example":        "want an address or a CIDR",
		"10.0.0.0/33":          "want an address or a CIDR",
		"10.0.0.1:80":          "want an address or a CIDR",
		"fe80::1%eth0":         "want an address or a CIDR",
		"10.0.0.0/8,10.0.0.1 ": "want an address or a CIDR",
	} {
		_, err := realip.ParseProxies([]string{entry})
		if wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%q: got error %v, want %q", entry, err, wrong)
		}
	}
}

func TestProxies_TrustMatchesIPv4MappedIPv6(t *testing.T) {
	p := proxies(t, "::ffff:10.0.0.0/104")
	if !p.Trust(realip.Of(&net.TCPAddr{IP: net.ParseIP("::ffff:10.1.2.3"), Port: 1})) {
		t.Error("got an IPv4-mapped IPv6 address untrusted, want it trusted")
	}
}

func TestOf_UnmapsAddress(t *testing.T) {
	for want, addr := range map[netip.Addr]net.Addr{
		netip.MustParseAddr("192.0.2.1"): &net.TCPAddr{IP: net.ParseIP("192.0.2.1")}, // 16 bytes
		netip.MustParseAddr("fe80::1"):   &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"},
		{}:                               &net.UnixAddr{Name: "@"},
	} {
		if got := realip.Of(addr); got != want {
			t.Errorf("%v: got %v, want %v", addr, got, want)
		}
	}
}

// FuzzHeaders checks both parsers with any header: an untrusted address's header has no effect, and neither has text to
// the left of a trusted proxy's entry.
func FuzzHeaders(f *testing.F) {
	for _, seed := range []string{
		"6.6.6.6, 198.51.100.1", `for="[2001:db8::1]:4711";proto=https`, `for="6.6.6.6, for=10.0.0.1`, "unknown", `\"`, "[", ",", "",
		"fe80::1%eth0", "::ffff:1.2.3.4",
	} {
		f.Add([]byte(seed))
	}
	p := proxies(f, trusted...)
	untrusted, proxy := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("10.0.0.1")
	client := netip.MustParseAddr("198.51.100.1")
	f.Fuzz(func(t *testing.T, forged []byte) {
		for name, c := range map[string]struct {
			walk func(netip.Addr, [][]byte) netip.Addr
			good string
		}{
			"X-Forwarded-For": {p.ForwardedFor, "198.51.100.1"},
			"Forwarded":       {p.Forwarded, `for="198.51.100.1"`},
		} {
			if got := c.walk(untrusted, [][]byte{forged}); got != untrusted {
				t.Errorf("%s: an untrusted %q: got %v, want the peer", name, forged, got)
			}
			appended := append(bytes.Clone(forged), ", "+c.good...)
			if got := c.walk(proxy, [][]byte{appended}); got != client {
				t.Errorf("%s: %q: got %v, want the client", name, appended, got)
			}
			if got := c.walk(proxy, [][]byte{forged, []byte(c.good)}); got != client {
				t.Errorf("%s: the line %q: got %v, want the client", name, forged, got)
			}
			if got := c.walk(proxy, [][]byte{forged}); !got.IsValid() || got.Is4In6() || got.Zone() != "" {
				t.Errorf("%s: %q: got %v, want an unmapped address without a zone", name, forged, got)
			}
		}
	})
}
