//go:build deploy

package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sightglass/infra/test/internal/programs"
)

var units = []string{
	"sightglass-ingester.service", "sightglass-edge.service", "sightglass-edge@8081.service", "sightglass.service",
}

// modules has the module of each program.
var modules = map[string]string{"edge": "edge", "ingester": "ingester", "sightglass": "infra"}

// most is the highest exposure of `systemd-analyze security` that a unit may have; 10 is a program without
// restrictions.
const most = 2.0

// install runs `make install` into a folder, with newly built programs.
func install(t *testing.T) (root string) {
	t.Helper()
	tree, root := t.TempDir(), t.TempDir()
	source, err := filepath.Abs("../../../systemd")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(tree, "infra/systemd"), os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	for name, module := range modules {
		program, err := os.ReadFile(programs.Build(t, module, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(tree, "bin", name), string(program))
		if err := os.Chmod(filepath.Join(tree, "bin", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	installInto(t, tree, root)
	return root
}

func installInto(t *testing.T, tree, root string) {
	t.Helper()
	cmd := exec.Command("bash", filepath.Join(tree, "infra/systemd/install"))
	cmd.Env = append(os.Environ(), "DESTDIR="+root, "PREFIX=/usr/local")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestUnits_VerifyAndSecurityScore(t *testing.T) {
	root := install(t)
	for _, unit := range units {
		t.Run(unit, func(t *testing.T) {
			// systemd ignores unknown directives with a warning, so a misspelt restriction has no effect.
			out, err := exec.Command("systemd-analyze", "verify", "--root="+root, "--man=no", "--recursive-errors=no", unit).CombinedOutput()
			if err != nil || strings.Contains(string(out), "sightglass") {
				t.Errorf("systemd-analyze verify: got %v, want no warning\n%s", err, out)
			}
			out, err = exec.Command("systemd-analyze", "security", "--no-pager", "--offline=yes", "--root="+root, unit).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			score := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
			if score == nil {
				t.Fatalf("got no score:\n%s", out)
			}
			if exposure, err := strconv.ParseFloat(string(score[1]), 64); err != nil || exposure > most {
				t.Errorf("got exposure %s, want at most %.1f (%v):\n%s", score[1], most, err, out)
			}
			t.Logf("exposure %s of 10", score[1])
		})
	}
}

// TestUnits_ExampleSettingsAreValid: the programs accept the example settings, and know those in comments.
func TestUnits_ExampleSettingsAreValid(t *testing.T) {
	for name, module := range modules {
		t.Run(name, func(t *testing.T) {
			program := programs.Build(t, module, name)
			help, err := exec.Command(program, "run", "--help").Output()
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile("../../../systemd/" + name + ".env")
			if err != nil {
				t.Fatal(err)
			}
			assignment := regexp.MustCompile(`(?m)^(#?)((SIGHTGLASS_\w+)=.*)$`)
			var as, with []string // unchanged; with the settings in comments
			for _, m := range assignment.FindAllStringSubmatch(string(text), -1) {
				if !regexp.MustCompile(`\$` + m[3] + `\b`).Match(help) {
					t.Errorf("%s: got an unknown setting %s", name, m[3])
				}
				if m[1] == "" {
					as = append(as, m[2])
				} else if !strings.HasPrefix(m[2], "SIGHTGLASS_RPC_COOKIE") { // an alternative to the user
					with = append(with, m[2])
				}
			}
			for _, settings := range [][]string{as, slices.Concat(as, with)} {
				cmd := exec.Command(program, "checkconfig")
				cmd.Env = settings
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("got %v with %q, want no error:\n%s", err, settings, out)
				}
			}
		})
	}
}

// TestInstall_KeepsSettings: existing settings stay, and only their owner can read them.
func TestInstall_KeepsSettings(t *testing.T) {
	root := install(t)
	settings := filepath.Join(root, "etc/sightglass/edge.env")
	info, err := os.Stat(settings)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got %v, %v, want a private file", info, err)
	}
	write(t, settings, "SIGHTGLASS_NOTICE=mine\n")
	tree := t.TempDir()
	if err := os.CopyFS(filepath.Join(tree, "infra/systemd"), os.DirFS("../../../systemd")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("bash", filepath.Join(tree, "infra/systemd/install")).CombinedOutput(); err == nil || !strings.Contains(string(out), "make build") {
		t.Errorf("without the programs: got %v, %s, want an error that names make build", err, out)
	}
	if err := os.CopyFS(filepath.Join(tree, "bin"), os.DirFS(filepath.Join(root, "usr/local/bin"))); err != nil {
		t.Fatal(err)
	}
	installInto(t, tree, root)
	if got, err := os.ReadFile(settings); err != nil || string(got) != "SIGHTGLASS_NOTICE=mine\n" {
		t.Errorf("got %q, %v, want the existing settings", got, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(old)+text)
}
