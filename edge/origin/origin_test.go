package origin_test

import (
	"strings"
	"testing"

	"sightglass/edge/origin"
)

func TestAllow(t *testing.T) {
	for name, c := range map[string]struct {
		setting string // separated by spaces
		origins []string
		host    string
		want    bool
	}{
		"a program":                          {"", nil, "a.example", true},
		"the same host":                      {"", []string{"https://a.example"}, "a.example", true},
		"the same host without TLS":          {"", []string{"http://a.example"}, "a.example", true},
		"the same host in other case":        {"", []string{"https://A.example"}, "a.EXAMPLE", true},
		"the same port":                      {"", []string{"http://127.0.0.1:8080"}, "127.0.0.1:8080", true},
		"a default port, given":              {"", []string{"https://a.example"}, "a.example:443", true},
		"a default port, given by the page":  {"", []string{"https://a.example:443"}, "a.example", true},
		"IPv6":                               {"", []string{"http://[::1]:8080"}, "[::1]:8080", true},
		"another host":                       {"", []string{"https://evil.example"}, "a.example", false},
		"a host that begins alike":           {"", []string{"https://a.example.evil.example"}, "a.example", false},
		"a host that ends alike":             {"", []string{"https://evil-a.example"}, "a.example", false},
		"a user that looks alike":            {"", []string{"https://a.example@evil.example"}, "a.example", false},
		"another port":                       {"", []string{"http://127.0.0.1:9090"}, "127.0.0.1:8080", false},
		"the other scheme's port":            {"", []string{"http://a.example"}, "a.example:443", false},
		"a page without an origin":           {"", []string{"null"}, "a.example", false},
		"empty":                              {"", []string{""}, "a.example", false},
		"empty, and no host":                 {"", []string{""}, "", false},
		"no scheme":                          {"", []string{"a.example"}, "a.example", false},
		"a path":                             {"", []string{"https://a.example/x"}, "a.example", false},
		"a file":                             {"", []string{"file://"}, "", false},
		"an extension":                       {"", []string{"chrome-extension://abc"}, "abc", false},
		"two origins":                        {"", []string{"https://a.example", "https://evil.example"}, "a.example", false},
		"a host with a path":                 {"", []string{"https://a.example"}, "a.example/x", false},
		"no such port":                       {"", []string{"https://a.example:x"}, "a.example:x", false},
		"listed":                             {"https://b.example", []string{"https://b.example"}, "a.example", true},
		"listed with its port":               {"https://b.example:443", []string{"https://b.example"}, "a.example", true},
		"listed in other case":               {"HTTPS://B.example", []string{"https://b.example"}, "a.example", true},
		"listed second":                      {"https://b.example http://c.example:81", []string{"http://c.example:81"}, "a.example", true},
		"listed under another scheme":        {"https://b.example", []string{"http://b.example"}, "a.example", false},
		"the same host, with others listed":  {"https://b.example", []string{"https://a.example"}, "a.example", true},
		"another host, with others listed":   {"https://b.example", []string{"https://evil.example"}, "a.example", false},
		"any":                                {"*", []string{"https://evil.example"}, "a.example", true},
		"any, from a page without an origin": {"*", []string{"null"}, "a.example", true},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := origin.Parse(strings.Fields(c.setting))
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Allow(c.origins, c.host); got != c.want {
				t.Errorf("allowed: %v, want %v", got, c.want)
			}
		})
	}
}

func TestWhatIsNoOrigin(t *testing.T) {
	for _, entry := range []string{"", "b.example", "https://", "https://b.example/", "https://b.example?x", "null", "https://*.example", "https://b.example:x", "ws://b.example", "https://u@b.example"} {
		if _, err := origin.Parse([]string{"https://a.example", entry}); err == nil || !strings.Contains(err.Error(), "want SCHEME://HOST") {
			t.Errorf("%q: got error %v", entry, err)
		}
	}
}

func FuzzAllow(f *testing.F) {
	f.Add("https://a.example", "a.example")
	f.Add("http://[::1]:80", "[::1]")
	f.Add("null", "")
	f.Fuzz(func(t *testing.T, page, host string) {
		var same origin.Allowed
		if same.Allow([]string{page}, host) && !strings.Contains(strings.ToLower(page), "://") {
			t.Errorf("%q was taken for an origin of %q", page, host)
		}
	})
}
