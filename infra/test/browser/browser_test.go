package browser

import (
	"path/filepath"
	"strings"
	"testing"

	"sightglass/infra/test/internal/programs"
)

// TestPage_BrowserScripts runs the scripts, one after another, before one world. Each leaves it as it was.
func TestPage_BrowserScripts(t *testing.T) {
	programs.NeedBrowser(t)
	scripts, err := filepath.Glob("*.test.mjs")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	w := start(t)
	control := w.control()
	defer control.Close()
	env := []string{
		"EDGE=http://" + w.addr, "EMPTY_EDGE=http://" + w.startEmpty(), "CONTROL=" + control.URL,
		"UNDER=http://" + w.addr + basePath, "SITE=" + w.site,
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(script, ".test.mjs"), func(t *testing.T) { programs.RunScript(t, script, env...) })
	}
}
