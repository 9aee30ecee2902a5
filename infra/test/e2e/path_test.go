package e2e

import (
	"bytes"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
)

const base = "/btc/price"

func underBase(o *edge.Options) { o.BasePath = base }

// TestBasePath_ServesEveryRoute: a route under the base path responds as it does at the root, whatever the headers name
// as a prefix.
func TestBasePath_ServesEveryRoute(t *testing.T) {
	e := edgeWith(t, redistest.Start(t), underBase)
	for _, path := range []string{
		"/", "/clock", "/embed?theme=dark", "/static/app.js", "/static/client.js", "/static/nothing.js", "/api/v1/about", "/api/v1/snapshot", "/price",
		"/api/openapi.json", "/livez", "/readyz", "/nowhere", "/metrics", "/ws/mempool", "//", "/static/../clock", "/clock/",
		"/og.png", "/sw.js", "/manifest.webmanifest", "/icon-192.png", "/icon-maskable-512.png", "/apple-touch-icon.png",
	} {
		for name, header := range map[string]http.Header{
			"plain":        {"Accept-Encoding": {"gzip"}},
			"other origin": {"Origin": {"https://other.example"}},
			"a prefix":     {"X-Forwarded-Prefix": {"/elsewhere"}, "X-Script-Name": {"/elsewhere"}},
		} {
			root, under := ask(t, "GET", e, path, header), ask(t, "GET", e, base+path, header)
			root.Header.Del("Date")
			under.Header.Del("Date")
			if root.StatusCode != under.StatusCode || !bytes.Equal(root.body, under.body) || !maps.EqualFunc(root.Header, under.Header, slices.Equal) {
				t.Errorf("%s, %s: got %s %v under the path, want the root's %s %v", path, name, under.Status, under.Header, root.Status, root.Header)
			}
			if tag := under.Header.Get("ETag"); tag != "" {
				if again := ask(t, "GET", e, base+path, http.Header{"If-None-Match": {tag}}); again.StatusCode != http.StatusNotModified {
					t.Errorf("%s: got %s with its ETag, want 304", path, again.Status)
				}
			}
		}
	}
	if got := ask(t, "GET", e, base+"/ws/mempool", handshake); got.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("a handshake: got %s, want 101", got.Status)
	}
	for _, path := range []string{"/btc", "/btc/", "/btc/pricey", "/btc/pricey/", "/BTC/price", "/BTC/price/", "/elsewhere/", base + base + "/"} {
		if got := ask(t, "GET", e, path, http.Header{"X-Forwarded-Prefix": {"/elsewhere"}}); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %s, want 404", path, got.Status)
		}
	}
}

// TestBasePath_SlashRedirects: a page with relative references has one address. The redirect is relative, so it works
// under a path that a proxy strips.
func TestBasePath_SlashRedirects(t *testing.T) {
	e := edgeWith(t, redistest.Start(t), underBase)
	for from, want := range map[string]string{
		base: base + "/", base + "?a=b": base + "/?a=b",
		"/clock/": "/clock", "/embed/?theme=dark": "/embed?theme=dark", base + "/embed/": base + "/embed",
	} {
		for _, stripped := range []string{"", "/stripped"} {
			got := ask(t, "GET", e, from, nil)
			asked, err := url.Parse("http://host" + stripped + from)
			if err != nil {
				t.Fatal(err)
			}
			to, err := asked.Parse(got.Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			if got.StatusCode != http.StatusPermanentRedirect || to.String() != "http://host"+stripped+want {
				t.Errorf("%s: got %s to %s, want %s", asked, got.Status, to, want)
			}
		}
		if got := ask(t, "GET", e, want, nil); got.StatusCode != http.StatusOK {
			t.Errorf("%s leads to %s: got %s, want 200", from, want, got.Status)
		}
	}
}

// TestBasePath_MayBeThatOfThePrice: /price leads to the page then, and the price as text is under it.
func TestBasePath_MayBeThatOfThePrice(t *testing.T) {
	e := edgeWith(t, redistest.Start(t), func(o *edge.Options) { o.BasePath = "/price" })
	if got := ask(t, "GET", e, "/price", nil); got.StatusCode != http.StatusPermanentRedirect || got.Header.Get("Location") != "price/" {
		t.Errorf("/price: got %s to %q, want a redirect to price/", got.Status, got.Header.Get("Location"))
	}
	if got := ask(t, "GET", e, "/price/", nil); got.StatusCode != http.StatusOK || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") {
		t.Errorf("/price/: got %s with %s, want the page", got.Status, got.Header.Get("Content-Type"))
	}
	if message := expectError(t, ask(t, "GET", e, "/price/price", nil), http.StatusServiceUnavailable); message != "no price yet" {
		t.Errorf("/price/price: got %q, want the price, of which there is none yet", message)
	}
}

// TestBasePath_OpenAPIServer: the document's server is the document's own base, with and without a base path.
func TestBasePath_OpenAPIServer(t *testing.T) {
	e := edgeWith(t, redistest.Start(t), underBase)
	for _, path := range []string{"", base} {
		var document struct{ Servers []struct{ URL string } }
		unmarshal(t, ask(t, "GET", e, path+"/api/openapi.json", nil).body, &document)
		at, err := url.Parse("http://host" + path + "/api/openapi.json")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := at.Parse(document.Servers[0].URL); err != nil || got.Path != path+"/" {
			t.Errorf("the document at %s: got server %s (%v), want its own base", at, got, err)
		}
	}
}

// TestBasePath_RouteMetricsOmitIt: an alert on a route applies to every edge.
func TestBasePath_RouteMetricsOmitIt(t *testing.T) {
	internal := programs.FreeAddr(t)
	e := edgeWith(t, redistest.Start(t), func(o *edge.Options) { o.BasePath, o.InternalListen = base, internal })
	for _, path := range []string{base, base + "/", base + "/static/app.js", base + "/static/client.js", base + "/nowhere"} {
		ask(t, "GET", e, path, nil)
	}
	metrics := scrape(t, internal)
	for _, series := range []string{
		`{code="308",route="` + base + `"} 1`, `{code="200",route="/"} 1`, `{code="200",route="/static/*"} 2`,
		`{code="404",route="other"} 1`,
	} {
		if !strings.Contains(metrics, "sightglass_http_requests_total"+series+"\n") {
			t.Errorf("got no series sightglass_http_requests_total%s", series)
		}
	}
}
