package edge

import (
	"bytes"
	"encoding/json"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sightglass/edge/web"
)

// get requests a path of an edge that does not run.
func get(t *testing.T, e *Edge, path string) (*http.Response, []byte) {
	t.Helper()
	response, err := e.app.Test(httptest.NewRequest(http.MethodGet, path, nil), -1)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

// TestManifest_NamesItsIcons: each icon exists, in the size that the manifest says, and all URLs are relative.
func TestManifest_NamesItsIcons(t *testing.T) {
	e := unstarted(t)
	response, body := get(t, e, "/manifest.webmanifest")
	if got := response.Header.Get("Content-Type"); got != "application/manifest+json" {
		t.Errorf("got Content-Type %q, want application/manifest+json", got)
	}
	var manifest struct {
		StartURL string `json:"start_url"`
		Scope    string
		Icons    []struct{ Src, Sizes, Type string }
	}
	if err := json.Unmarshal(body, &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.StartURL != "./" || manifest.Scope != "./" || len(manifest.Icons) != 3 {
		t.Errorf("got start %q, scope %q and %d icons, want ./, ./ and 3", manifest.StartURL, manifest.Scope, len(manifest.Icons))
	}
	sizes := map[string]string{"apple-touch-icon.png": "180x180"}
	for _, icon := range manifest.Icons {
		sizes[icon.Src] = icon.Sizes
	}
	for src, want := range sizes {
		response, body := get(t, e, "/"+src)
		config, err := png.DecodeConfig(bytes.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		side, _, _ := strings.Cut(want, "x")
		if got := response.Header.Get("Content-Type"); got != "image/png" || config.Width != config.Height || side != strconv.Itoa(config.Width) {
			t.Errorf("%s: got %s of %d x %d, want image/png of %s", src, got, config.Width, config.Height, want)
		}
	}
}

func TestWorker_ListsFilesOfPages(t *testing.T) {
	e := unstarted(t)
	response, body := get(t, e, "/sw.js")
	for header, want := range map[string]string{
		"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache", "Content-Security-Policy": web.ContentSecurityPolicy,
	} {
		if got := response.Header.Get(header); got != want {
			t.Errorf("got %s %q, want %q", header, got, want)
		}
	}
	line, _, _ := strings.Cut(string(body), "\n")
	var shell struct {
		Version string
		Files   []string
	}
	if err := json.Unmarshal([]byte(strings.TrimSuffix(strings.TrimPrefix(line, "self.shell = "), ";")), &shell); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	for _, want := range []string{"", "clock", "embed", "static/app.js", "static/style.css", "static/icon.svg"} {
		if !slices.Contains(shell.Files, want) {
			t.Errorf("got no %q in %q, want it", want, shell.Files)
		}
	}
	for _, file := range shell.Files {
		page := file == "" || file == "clock" || file == "embed"
		if !page && !strings.HasPrefix(file, "static/") || strings.HasSuffix(file, ".d.ts") || strings.HasSuffix(file, ".txt") {
			t.Errorf("got %q in the list, want only pages and what they load", file)
		}
		if response, _ := get(t, e, "/"+file); response.StatusCode != http.StatusOK {
			t.Errorf("%q: got %s, want 200, as the worker requests all of them", file, response.Status)
		}
	}
}

// TestWorker_VersionIsThatOfFiles: a change of any file installs the worker again, on each edge the same one.
func TestWorker_VersionIsThatOfFiles(t *testing.T) {
	files := func(script string) map[string][]byte {
		return map[string][]byte{"/index.html": []byte("page"), "/static/a.js": []byte(script), "/static/a.txt": []byte("x"), "/sw.js": []byte("worker")}
	}
	first, again, changed := serviceWorker(files("1")), serviceWorker(files("1")), serviceWorker(files("2"))
	if !bytes.Equal(first, again) {
		t.Errorf("got %s after %s for the same files, want the same", again, first)
	}
	if bytes.Equal(first, changed) {
		t.Errorf("got %s for other files too, want another version", changed)
	}
}

func TestOptions_PublicURL(t *testing.T) {
	for public, good := range map[string]bool{
		"": true, "https://example.org": true, "https://example.org/": true, "http://example.org:8080/price": true, "https://[::1]/price/": true,
		"example.org": false, "//example.org": false, "/price": false, "ftp://example.org": false, "https://": false, "https:///price": false,
		"https://example.org/?a=b": false, "https://example.org/?": false, "https://example.org/#a": false, "https://me@example.org": false,
		"https://example.org/\n": false, "javascript:alert(1)": false, "http://:80": false, "https://example.org/a b": false,
		"https://example.org:99999": false, "https://example.org:0": false,
	} {
		t.Run(public, func(t *testing.T) {
			o := Defaults()
			o.PublicURL = public
			err := o.Validate()
			if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "--public-url") {
				t.Errorf("%q: got %v, want accepted %v", public, err, good)
			}
		})
	}
}

func TestPage_PreviewURLs(t *testing.T) {
	file := readFiles(web.Files())["/index.html"]
	for public, want := range map[string][2]string{
		"":                            {"./", "og.png"},
		"https://example.org":         {"https://example.org/", "https://example.org/og.png"},
		"https://example.org/price":   {"https://example.org/price/", "https://example.org/price/og.png"},
		"https://example.org/price/":  {"https://example.org/price/", "https://example.org/price/og.png"},
		`https://example.org/"><b>&c`: {"https://example.org/&#34;&gt;&lt;b&gt;&amp;c/", "https://example.org/&#34;&gt;&lt;b&gt;&amp;c/og.png"},
	} {
		page := string(withPublicURL(file, public))
		for name, want := range map[string]string{"og:url": want[0], "og:image": want[1]} {
			if tag := `<meta property="` + name + `" content="` + want + `">`; strings.Count(page, tag) != 1 {
				t.Errorf("%q: got no %s in the page, want it once", public, tag)
			}
		}
	}
}
