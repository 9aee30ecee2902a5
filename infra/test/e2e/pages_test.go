package e2e

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sightglass/infra/test/internal/redistest"
)

// TestPages_ReferencesAndPolicy: a page requests only URLs under the edge's path, has no inline code, and sets no
// cookie. Only the card may be framed.
func TestPages_ReferencesAndPolicy(t *testing.T) {
	e := edgeWith(t, redistest.Start(t), unchanged)
	reference := regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son\w+=|<script(?:\s+[^>]*)?>\s*[^<\s]`)
	for path, ancestors := range map[string]string{
		"/": "'none'", "/clock": "'none'", "/embed": "*", "/embed?theme=dark": "*", "/static/app.js": "'none'", "/static/embed.css": "'none'",
		"/sw.js": "'none'", "/manifest.webmanifest": "'none'", "/og.png": "'none'", "/icon-192.png": "'none'",
	} {
		t.Run(path, func(t *testing.T) {
			page := ask(t, "GET", e, path, nil)
			if page.StatusCode != http.StatusOK || len(page.Header.Values("Set-Cookie")) > 0 {
				t.Errorf("got %s with cookies %v, want 200 without cookies", page.Status, page.Header.Values("Set-Cookie"))
			}
			policy := page.Header.Get("Content-Security-Policy")
			if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self'; ") || strings.Contains(policy, "unsafe") ||
				!strings.HasSuffix(policy, "; frame-ancestors "+ancestors) {
				t.Errorf("got policy %q, want the page's own", policy)
			}
			if !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
				return
			}
			if found := inline.Find(page.body); found != nil {
				t.Errorf("got inline code %s, want none, as the policy forbids it", found)
			}
			for _, match := range reference.FindAllStringSubmatch(string(page.body), -1) {
				to, err := url.Parse("http://edge/price" + path)
				if err == nil {
					to, err = to.Parse(match[1])
				}
				if err != nil || !strings.HasPrefix(to.String(), "http://edge/price/") {
					t.Errorf("got a reference to %s, which a page under http://edge/price/ resolves to %v (%v); want a URL under it", match[1], to, err)
				} else if got := ask(t, "GET", e, strings.TrimPrefix(to.Path, "/price"), nil); got.StatusCode != http.StatusOK && got.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("got a reference to %s with %s, want 200 or 503", match[1], got.Status)
				}
			}
		})
	}
}

// TestPages_CrossOriginResourcePolicy: other sites may load the card, the client's script and the picture, even into a
// cross-origin isolated page, and no other file.
func TestPages_CrossOriginResourcePolicy(t *testing.T) {
	e := edgeWith(t, redistest.Start(t), unchanged)
	for path, want := range map[string]string{
		"/embed": "cross-origin", "/static/client.js": "cross-origin", "/static/app.js": "", "/": "", "/clock": "",
		"/og.png": "cross-origin", "/sw.js": "", "/icon-192.png": "",
	} {
		if got := ask(t, "GET", e, path, nil).Header.Get("Cross-Origin-Resource-Policy"); got != want {
			t.Errorf("%s: got Cross-Origin-Resource-Policy %q, want %q", path, got, want)
		}
	}
	if got := ask(t, "GET", e, "/static/app.js", http.Header{"Origin": {"https://other.example"}}); got.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("got Access-Control-Allow-Origin for a private script, want none")
	}
}
