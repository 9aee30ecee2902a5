package programs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// scriptTimeout is the maximum duration of one script, on a slow machine.
const scriptTimeout = 5 * time.Minute

// NeedBrowser skips the test if Chromium, Node.js or playwright-core is not installed.
func NeedBrowser(t testing.TB) {
	t.Helper()
	for _, program := range []string{"chromium", "node"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: `make browser` installs it", program)
		}
	}
	if _, err := os.Stat(filepath.Join(scripts(), "node_modules", "playwright-core")); err != nil {
		t.Skip("playwright-core is not installed: `make browser` installs it")
	}
}

// RunScript runs a script of infra/test/browser with additional environment variables and logs its output. The test fails
// if the script fails.
func RunScript(t testing.TB, script string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "--test-reporter=spec", script)
	cmd.Dir = scripts()
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("%s: %v", script, err)
	}
}

// scripts returns the folder of the browser tests.
func scripts() string { return filepath.Join(root(), "infra", "test", "browser") }
