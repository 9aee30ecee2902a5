package browser

import (
	"path/filepath"
	"strings"
	"testing"

	"sightglass/infra/test/internal/programs"
)

// TestPage_BrowserScripts runs the scripts one after another in one environment. Each script restores it.
func TestPage_BrowserScripts(t *testing.T) {
	programs.NeedBrowser(t)
	scripts, err := filepath.Glob("*.test.mjs")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("got no scripts, error %v, want some", err)
	}
	env := start(t)
	control := env.control()
	defer control.Close()
	settings := []string{
		"EDGE=http://" + env.addr, "EMPTY_EDGE=http://" + env.startEmpty(), "CONTROL=" + control.URL,
		"UNDER=http://" + env.addr + basePath, "SITE=" + env.site,
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(script, ".test.mjs"), func(t *testing.T) { programs.RunScript(t, script, settings...) })
	}
}
