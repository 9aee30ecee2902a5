//go:build deploy

package systemd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightglass/infra/test/internal/machine"
	"sightglass/ingester/testblock"
)

// The container's own units: a Redis, a node, and the script.
var inside = map[string]string{
	"redis-test.service":  "[Service]\nExecStart=/usr/bin/redis-server --save '' --bind 127.0.0.1\n",
	"replay-test.service": "[Service]\nExecStart=/usr/local/bin/ingester replay --rate 2000 --loop /block\n",
	"inside.service":      "[Unit]\nAfter=basic.target\nRequires=basic.target\n[Service]\nType=oneshot\nExecStart=/inside.sh\nStandardOutput=file:/out/log\nStandardError=inherit\n",
}

// TestUnits_RunUnderSystemd boots a container with systemd as its first process, with only this machine's /usr, and
// runs testdata/inside.sh there: a separate user, no privileges, the cookie, the watchdog, a rolling restart, invalid
// settings.
func TestUnits_RunUnderSystemd(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a container with systemd needs root")
	}
	etc, out := t.TempDir(), t.TempDir()
	root := install(t)
	write(t, filepath.Join(etc, "sysusers.conf"), "g bitcoin - -\n")
	drained := "\nSIGHTGLASS_DRAIN_DELAY=100ms\nSIGHTGLASS_DRAIN_WINDOW=100ms\nSIGHTGLASS_GRACE=1s\n"
	appendTo(t, filepath.Join(root, "etc/sightglass/edge.env"), drained)
	script, err := filepath.Abs("testdata/inside.sh")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--quiet", "--register=no", "--keep-unit", "--private-network", "--console=pipe",
		"--directory=/", "--volatile=yes", // a new root with this machine's /usr, read-only
		"--bind-ro=" + filepath.Join(root, "usr/local") + ":/usr/local",
		"--bind=" + filepath.Join(root, "etc/sightglass") + ":/etc/sightglass",
		"--bind-ro=" + filepath.Join(etc, "sysusers.conf") + ":/etc/sysusers.d/test.conf",
		"--bind-ro=" + testblock.Path(t, testblock.Block574200) + ":/block",
		"--bind-ro=" + script + ":/inside.sh",
		"--bind=" + out + ":/out",
	}
	for name, text := range inside {
		write(t, filepath.Join(etc, name), text)
		args = append(args, "--bind-ro="+filepath.Join(etc, name)+":/etc/systemd/system/"+name)
	}
	args = append(args, "--boot", "systemd.unit=inside.service", "systemd.firstboot=no",
		"systemd.mask=systemd-networkd-wait-online.service") // the container has no network to wait for

	defer machine.LockBoot(t)()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-nspawn", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // systemd-nspawn stops the container and exits
	cmd.WaitDelay = 20 * time.Second
	console, err := cmd.CombinedOutput()
	log, _ := os.ReadFile(filepath.Join(out, "log")) // absent if the boot failed
	t.Logf("in the container:\n%s", log)
	if err != nil || !strings.HasSuffix(string(log), "\nexit 0\n") {
		t.Errorf("got %v, want exit 0; the console:\n%s", err, console)
	}
}
