//go:build deploy

package release

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"sightglass/infra/test/internal/programs"
)

const version = "v0.0.1-test"

// architectures are those that this machine can build: see infra/release/common.
var architectures = map[string][]string{"amd64": {"amd64", "arm64"}, "arm64": {"arm64"}}[runtime.GOARCH]

// temporary is a folder for the release that the tests share.
var temporary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if temporary, err = os.MkdirTemp("", "release-test"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := os.RemoveAll(temporary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

var shared = sync.OnceValues(func() (string, error) { return built(filepath.Join(temporary, "here")) })

// copied copies the sources for the shared release.
var copied sync.Once

// release returns the folder of the release that all tests share. The first one builds it.
func release(t *testing.T) string {
	t.Helper()
	copied.Do(func() { programs.CopySources(t, filepath.Join(temporary, "here")) })
	out, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// repository returns the root of the repository.
func repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../../../..")
}

// tool returns the path of a program that make test-deploy builds. If there is none, running it fails.
func tool(name string) string {
	found, _ := filepath.Glob(filepath.Join(repository(), "bin/tools", name+"-*")) // the pattern is valid
	if len(found) == 0 {
		return name + "-is-missing-make-test-deploy-builds-it"
	}
	return found[len(found)-1]
}

// command returns a command for a program of an architecture. For another one than this machine's it runs in an
// emulator, with Debian's libraries of that architecture.
func command(t *testing.T, architecture, program string, args ...string) *exec.Cmd {
	t.Helper()
	if architecture == runtime.GOARCH {
		return exec.Command(program, args...)
	}
	const emulator = "qemu-aarch64"
	if _, err := exec.LookPath(emulator); err != nil {
		programs.SkipOrFail(t, emulator+" is not installed: `make test-deploy` installs qemu-user")
	}
	return exec.Command(emulator, append([]string{program}, args...)...)
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func exists(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
