package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path"
	"strings"
	"testing"
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

// TestFiles_FitSizeLimit bounds what a first visit loads. Browsers do not load types and licences.
func TestFiles_FitSizeLimit(t *testing.T) {
	const maxSize = 100_000 // bytes
	total := 0
	err := fs.WalkDir(Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".d.ts") || strings.HasSuffix(name, ".txt") {
			return err
		}
		total += gzipped(t, read(t, name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes gzipped", total)
	if total >= maxSize {
		t.Errorf("got %d bytes of gzipped pages and static files, want under %d", total, maxSize)
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
