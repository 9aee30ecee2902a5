package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is for one script, however slow the machine.
const patience = 5 * time.Minute

// TestThePageInABrowser runs the scripts, one after another, before one world. Each leaves it as it was.
func TestThePageInABrowser(t *testing.T) {
	needBrowser(t)
	scripts, err := filepath.Glob("*.test.mjs")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	w := start(t)
	control := w.control()
	defer control.Close()
	env := []string{"EDGE=http://" + w.addr, "EMPTY_EDGE=http://" + w.startEmpty(), "CONTROL=" + control.URL}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(script, ".test.mjs"), func(t *testing.T) { node(t, script, env) })
	}
}

// needBrowser skips the test where there is no browser to run it in.
func needBrowser(t *testing.T) {
	t.Helper()
	for _, program := range []string{"chromium", "node"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: `make browser` installs it", program)
		}
	}
	if _, err := os.Stat("node_modules/playwright-core"); err != nil {
		t.Skip("playwright-core is not installed: `make browser` installs it")
	}
}

// node runs a script, logs what it says, and fails if it does.
func node(t *testing.T, script string, env []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "--test-reporter=spec", script)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("%s: %v", script, err)
	}
}
