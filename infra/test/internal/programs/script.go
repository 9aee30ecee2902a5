package programs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// scriptPatience is for one script, however slow the machine.
const scriptPatience = 5 * time.Minute

// NeedBrowser skips the test where there is no browser to run it in.
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

// RunScript runs a script of infra/test/browser with more in its environment, logs what it says, and fails the test if it does.
func RunScript(t testing.TB, script string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptPatience)
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

func scripts() string { return filepath.Join(root(), "infra", "test", "browser") }
