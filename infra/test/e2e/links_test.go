package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// TestDocs_LinksResolve checks the links of the README and the docs to files and sections.
func TestDocs_LinksResolve(t *testing.T) {
	const top = "../../.."
	pages, err := filepath.Glob(top + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, page := range append(pages, top+"/README.md", top+"/CONTRIBUTING.md", top+"/CHANGELOG.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			path, section, _ := strings.Cut(found[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			checked++
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: got a link to %s, want an existing file", page, path)
				continue
			}
			if section != "" && !hasSection(t, target, section) {
				t.Errorf("%s: got a link to %s, want an existing section, not %s", page, target, section)
			}
		}
	}
	if checked < 20 {
		t.Errorf("got %d links, want many more", checked)
	}
}

// hasSection reports whether a page has a heading with this GitHub anchor.
func hasSection(t *testing.T, page, anchor string) bool {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range heading.FindAllStringSubmatch(string(text), -1) {
		if notInAnchors.ReplaceAllString(strings.ReplaceAll(strings.ToLower(found[1]), " ", "-"), "") == anchor {
			return true
		}
	}
	return false
}

var notInAnchors = regexp.MustCompile(`[^\p{L}\p{N}_-]`)
