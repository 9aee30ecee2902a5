//go:build deploy

package proxy

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/wstest"
)

// under is the path in the snippets of docs/proxies.md.
const under = "/price"

// TestBalancer_ServesUnderPath runs the pages in Chromium behind the shipped configurations with each snippet of
// docs/proxies.md, while another site is at the root.
func TestBalancer_ServesUnderPath(t *testing.T) {
	programs.NeedBrowser(t)
	program := programs.Build(t, "edge", "edge")
	for mode, args := range map[string][]string{"strip": nil, "keep": {"--base-path", under}} {
		for name, k := range map[string]kind{"haproxy": haproxy, "nginx": nginx} {
			t.Run(name+"-"+mode, func(t *testing.T) {
				site := programs.FreeAddr(t)
				env := newEnvironment(t, program, k, func(config string) string {
					return k.shared(t, config, snippet(t, name+"-"+mode))
				}, append([]string{"--allowed-origins", "http://" + site}, args...))
				expectUnderPath(t, env)
				host := "http://" + env.lb.addr
				programs.RunScript(t, "path.test.mjs", "EDGE="+host, "UNDER="+host+under, "SITE="+site)
			})
		}
	}
}

// expectUnderPath checks responses that the browser test does not.
func expectUnderPath(t *testing.T, env *environment) {
	t.Helper()
	for from, want := range map[string]string{under: under + "/", under + "/clock/": under + "/clock"} {
		got := fetch(t, env.lb.addr, from, nil)
		request, err := http.NewRequest(http.MethodGet, "https://visitors.example"+from, nil)
		if err != nil {
			t.Fatal(err)
		}
		to, err := request.URL.Parse(got.header.Get("Location"))
		if err != nil || got.status != http.StatusPermanentRedirect || to.String() != "https://visitors.example"+want {
			t.Errorf("%s: got %d to %q, want 308 to %s of the requested host", from, got.status, got.header.Get("Location"), want)
		}
	}
	for _, path := range []string{"/", "/embed", "/static/client.js", "/api/openapi.json", "/livez", "/metrics", "/nowhere", "/ws/mempool"} {
		direct, proxied := fetch(t, env.edges[0].addr, path, nil), fetch(t, env.lb.addr, under+path, nil)
		expectSame(t, under+path, direct, proxied)
		if tag := proxied.header.Get("ETag"); tag != "" {
			again := fetch(t, env.lb.addr, under+path, http.Header{"If-None-Match": {tag}})
			if again.status != http.StatusNotModified {
				t.Errorf("%s: got %d with its ETag, want 304", under+path, again.status)
			}
		}
	}
	for _, path := range []string{"/", "/clock", under + "y/"} {
		if got := fetch(t, env.lb.addr, path, nil); got.status != http.StatusNotFound || got.body != otherSite {
			t.Errorf("%s of the other site: got %d %.80q, want its 404", path, got.status, got.body)
		}
	}
	url := "ws://" + env.lb.addr + under + "/ws/mempool"
	conn, _, err := wstest.Dial(t, url, source(0), websocket.DialOptions{Subprotocols: []string{delta}})
	if err != nil {
		t.Fatal(err)
	}
	follow(t, conn, true)
	for range perAddress - 1 {
		if code := join(t, url, source(0), nil); code != 0 {
			t.Fatalf("got close code %d, want none", code)
		}
	}
	if code := join(t, url, source(0), nil); code != wstest.TooMany {
		t.Errorf("the address's eleventh: got close code %d, want %d", code, wstest.TooMany)
	}
}

// otherSite is the response of the site at the root.
const otherSite = "another site"

// snippet returns a block of docs/proxies.md by its name.
func snippet(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "proxies.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), " snippet="+name+"\n")
	block, _, found := strings.Cut(block, "```\n")
	if !found {
		t.Fatalf("got no snippet %s in docs/proxies.md", name)
	}
	return block
}

// shareNginx adds a snippet above location /, which serves another site. The snippet must repeat the shipped directives
// of the stream.
func shareNginx(t *testing.T, config, snippet string) string {
	t.Helper()
	const root = "        location / {\n            proxy_pass http://edges;\n"
	stream := regexp.MustCompile(`(?s)\n        location /ws/ \{.*?\n        \}`).FindString(config)
	if stream == "" {
		t.Fatal("got no location /ws/ in nginx.conf")
	}
	for line := range strings.Lines(stream) {
		if strings.HasSuffix(line, ";\n") && !strings.Contains(line, "proxy_pass") && !strings.Contains(snippet, line) {
			t.Errorf("got a snippet without location /ws/'s directive: %s", line)
		}
	}
	return replace(t, config, root, snippet+"        location / {\n            return 404 '"+otherSite+"';\n")
}

// shareHAProxy adds a snippet's sections to those of the same names, and serves another site at the root.
func shareHAProxy(t *testing.T, config, snippet string) string {
	t.Helper()
	ends := map[string]string{"frontend public\n": "    default_backend edges\n", "backend edges\n": "    server edge1 "}
	sections := regexp.MustCompile(`(?m)^(\w+ \w+\n)((?: +.*\n)+)`).FindAllStringSubmatch(snippet, -1)
	if len(sections) == 0 || slices.ContainsFunc(sections, func(s []string) bool { return ends[s[1]] == "" }) {
		t.Fatalf("got a snippet without sections, want some:\n%s", snippet)
	}
	for _, section := range sections {
		end := ends[section[1]]
		config = replace(t, config, end, section[2]+end)
	}
	return replace(t, config, "default_backend edges\n", "default_backend site\n",
		"\nbackend sockets ", "\nbackend site\n    http-request return status 404 content-type text/plain string \""+otherSite+"\"\n\nbackend sockets ")
}
