package origin_test

import (
	"strings"
	"testing"

	"sightglass/edge/origin"
)

func TestAllowed_Allow(t *testing.T) {
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
		"an application of the same name":    {"", []string{"tauri://localhost"}, "localhost", false},
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
		"null, listed":                       {"null", []string{"null"}, "a.example", true},
		"null, but for another":              {"null", []string{"https://b.example"}, "a.example", false},
		"null is no scheme":                  {"null", []string{"null://"}, "a.example", false},
		"an application, not listed":         {"https://b.example", []string{"app://obsidian.md"}, "a.example", false},
		"another of the same scheme":         {"app://obsidian.md", []string{"app://evil"}, "a.example", false},
		"the same name, another scheme":      {"tauri://localhost", []string{"ionic://localhost"}, "a.example", false},
		"the same name, another port":        {"tauri://localhost", []string{"tauri://localhost:81"}, "a.example", false},
		"WebKit's case":                      {"safari-web-extension://0e1d2c3b-0000-4000-8000-abcdefabcdef", []string{"safari-web-extension://0E1D2C3B-0000-4000-8000-ABCDEFABCDEF"}, "a.example", true},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := origin.Parse(strings.Fields(c.setting))
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Allow(c.origins, c.host); got != c.want {
				t.Errorf("got allowed: %v, want %v", got, c.want)
			}
		})
	}
}

// TestAllowed_ListsEveryFormOfOrigin: those that browsers and applications send, and then allows no other origin.
func TestAllowed_ListsEveryFormOfOrigin(t *testing.T) {
	for _, page := range []string{
		"https://b.example", "http://localhost:3000", "http://[::1]:8080", "http://tauri.localhost", "null", "file://",
		"tauri://localhost", "app://obsidian.md", "app://.", "app://-", "capacitor://localhost", "ionic://localhost", "wails://wails.localhost:34115",
		"vscode-webview://0ab1c2d3e4f5g6h7i8j9k0l1m2n3o4p5", "vscode-webview://1d2c3b4a-0000-4000-8000-abcdefabcdef",
		"chrome-extension://cjpalhdlnbpafiamejdnhcphjbkeiagm", "moz-extension://1d2c3b4a-0000-4000-8000-abcdefabcdef",
		"safari-web-extension://0E1D2C3B-0000-4000-8000-ABCDEFABCDEF", "ms-appx-web://a.b_1c2d3e", "x+y-z.1://h",
	} {
		a, err := origin.Parse([]string{page})
		if err != nil {
			t.Error(err)
		}
		if !a.Allow([]string{page}, "a.example") || !a.Lists(page) {
			t.Errorf("got %s rejected, want the listed origin allowed", page)
		}
		if a.Allow([]string{"https://evil.example"}, "a.example") || a.Lists("https://evil.example") || a.Any() {
			t.Errorf("with %s listed: got another origin allowed, want it rejected", page)
		}
		if none := (origin.Allowed{}); none.Allow([]string{page}, "a.example") || none.Lists(page) {
			t.Errorf("got %s allowed, want it rejected, as it is not listed", page)
		}
	}
}

func TestParse_RejectsInvalidOrigins(t *testing.T) {
	for entry, wrong := range map[string]string{
		"":                        "there is no SCHEME://",
		"b.example":               "there is no SCHEME://",
		"Null":                    "there is no SCHEME://",
		"localhost:8080":          "there is no SCHEME://",
		"://b.example":            "scheme, host or port is invalid",
		"#://":                    "scheme, host or port is invalid",
		"https://":                "there is no host",
		"https://:80":             "there is no host",
		"app://:80":               "there is no host",
		"https://b.example/":      "without a slash or a path",
		"https://b.example/x":     "without a slash or a path",
		"https://b.example?x":     "without a slash or a path",
		"https://b.example#x":     "without a slash or a path",
		`https://b.example\x`:     "without a slash or a path",
		"tauri://localhost/":      "without a slash or a path",
		"file:///home":            "without a slash or a path",
		"https://u@b.example":     "no user",
		"https://*.example":       "wildcards",
		"moz-extension://*":       "wildcards",
		"https://b.example:x":     "scheme, host or port is invalid",
		"https://b.example:99999": "65535",
		"https://b .example":      "scheme, host or port is invalid",
		"1app://b":                "scheme, host or port is invalid",
		"ws://b.example":          "http or https",
		"wss://b.example":         "http or https",
		"ftp://b.example":         "ftp",
		"https://bücher.example":  "xn--",
	} {
		_, err := origin.Parse([]string{"https://a.example", entry})
		if err == nil || !strings.Contains(err.Error(), "want SCHEME://HOST") || !strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), "a.example") {
			t.Errorf("%q: got error %v, want %q", entry, err, wrong)
		}
	}
}

func FuzzAllow(f *testing.F) {
	f.Add("https://a.example", "a.example")
	f.Add("http://[::1]:80", "[::1]")
	f.Add("null", "")
	f.Add("tauri://localhost", "localhost")
	f.Add("#://", "")
	listed, err := origin.Parse([]string{"null", "tauri://localhost"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, page, host string) {
		var same origin.Allowed
		if same.Allow([]string{page}, host) && !strings.HasPrefix(strings.ToLower(page), "http") {
			t.Errorf("got %q allowed as an origin of %q, want it rejected", page, host)
		}
		if listed.Lists(page) && page != "null" && !strings.EqualFold(strings.TrimRight(page, ":"), "tauri://localhost") {
			t.Errorf("got %q as a listed origin, want it rejected", page)
		}
	})
}
