package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"

	"sightglass/shared/contract"
)

// TestVendor_MatchesChecksums: every vendored file is unchanged, and listed.
func TestVendor_MatchesChecksums(t *testing.T) {
	const folder = "static/vendor"
	sums := checksums(t, folder+"/sha256sums.txt")
	entries, err := fs.ReadDir(Files(), folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if name == "sha256sums.txt" {
			continue
		}
		sum := sha256.Sum256(read(t, path.Join(folder, name)))
		if got := hex.EncodeToString(sum[:]); got != sums[name] {
			t.Errorf("%s: got %s, want sha256sums.txt's %q", name, got, sums[name])
		}
		delete(sums, name)
	}
	for name := range sums {
		t.Errorf("got no file %s, want it, as sha256sums.txt lists it", name)
	}
}

// TestFirstView_FitsSizeLimit bounds what the dashboard loads before it shows a price: the page, and what it and its scripts
// and styles name. They import other languages and what is below the chart later.
func TestFirstView_FitsSizeLimit(t *testing.T) {
	const maxSize = 100_000 // bytes
	total := 0
	loaded := make(map[string]bool)
	var load func(name string)
	load = func(name string) {
		if loaded[name] {
			return
		}
		loaded[name] = true
		body := read(t, name)
		total += gzipped(t, body)
		for _, found := range named.FindAllSubmatch(body, -1) {
			load(path.Join(path.Dir(name), string(found[1])+string(found[2])))
		}
	}
	load("index.html")
	t.Logf("%d files, %d bytes gzipped", len(loaded), total)
	if total >= maxSize {
		t.Errorf("got %d bytes of gzipped files in the first view, want under %d", total, maxSize)
	}
	for _, part := range []string{"static/app.js", "static/texts/en.js", "static/vendor/uplot-1.6.32.iife.min.js", "static/style.css"} {
		if !loaded[part] {
			t.Errorf("got a first view without %s, want it: it is always loaded", part)
		}
	}
	for _, part := range []string{"static/texts/de.js", "static/evidence.js", "static/alerts.js", "static/widget.js"} {
		if loaded[part] {
			t.Errorf("got %s in the first view, want it to be loaded later", part)
		}
	}
}

// named finds the files that a page or a script loads at once: attributes, imports that are statements, and imported styles.
var named = regexp.MustCompile(`(?m)(?:href|src)="(static/[^"]+)"|(?:^import |^export |^} )[^\n]*"(\./[^"]+\.js)"`)

// TestState_BoundOfSurePrice: the pages have the same bound as everything else.
func TestState_BoundOfSurePrice(t *testing.T) {
	want := fmt.Sprintf("const SURE = %v;", contract.SureConfidence)
	if !bytes.Contains(read(t, "static/state.js"), []byte(want)) {
		t.Errorf("got another bound in static/state.js, want %q", want)
	}
}

// checksums parses the output of sha256sum, by file name.
func checksums(t *testing.T, name string) map[string]string {
	t.Helper()
	sums := make(map[string]string)
	for line := range strings.Lines(string(read(t, name))) {
		if sum, file, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && !strings.HasPrefix(line, "#") {
			sums[file] = sum
		}
	}
	return sums
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	body, err := fs.ReadFile(Files(), name)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func gzipped(t *testing.T, body []byte) int {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Len()
}
