// Package machine has Debian machines for tests: a root file system of their own, with this machine's kernel and network,
// and nothing else of it. It needs root, debootstrap and systemd-nspawn.
package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sightglass/infra/test/internal/programs"
)

// commandWithin bounds each command. The longest compiles everything with an empty cache: two minutes of one core.
const commandWithin = 10 * time.Minute

// A Machine is one that nobody has used yet, until the test ends.
type Machine struct {
	t    testing.TB
	dir  string   // its root
	args []string // of systemd-nspawn, for each command
}

// Cache is the folder that keeps between runs what takes long to make.
func Cache(t testing.TB) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "sightglass-deploy")
}

// New makes a minimal Debian, such as bookworm or trixie, without anything that debootstrap does not put there. It gets
// packages, modules and names from where this machine does.
func New(t testing.TB, suite string) *Machine {
	t.Helper()
	if os.Geteuid() != 0 {
		programs.Cannot(t, "a machine of its own needs root")
	}
	for _, program := range []string{"debootstrap", "systemd-nspawn"} {
		if _, err := exec.LookPath(program); err != nil {
			programs.Cannot(t, program+" is not installed: `make test-deploy` installs it")
		}
	}
	_, here, _, _ := runtime.Caller(0)
	made := exec.Command(filepath.Join(filepath.Dir(here), "base"), Cache(t), suite)
	var said bytes.Buffer
	made.Stderr = &said
	base, err := made.Output()
	if err != nil {
		t.Fatalf("a base of %s: %v\n%s", suite, err, said.String())
	}
	m := &Machine{t: t, dir: t.TempDir()}
	if out, err := exec.Command("tar", "-xpf", strings.TrimSpace(string(base)), "-C", m.dir, "--numeric-owner").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m.args = []string{
		"--quiet", "--register=no", "--keep-unit", "--console=pipe", "--as-pid2",
		"--directory=" + m.dir, fmt.Sprintf("--machine=%s-%d", suite, os.Getpid()),
		"--hostname=localhost", "--bind-ro=/etc/hosts", "--resolv-conf=replace-host",
	}
	m.connect()
	m.Write("etc/dpkg/dpkg.cfg.d/test", "force-unsafe-io\n") // it need not survive a power cut
	return m
}

// connect hands in how this machine reaches the registries of packages and modules, and whom it trusts there.
func (m *Machine) connect() {
	m.t.Helper()
	dump, err := exec.Command("apt-config", "dump").Output()
	if err != nil {
		m.t.Fatalf("apt-config dump: %v", err)
	}
	var fetching strings.Builder
	for line := range strings.Lines(string(dump)) {
		name, _, _ := strings.Cut(line, " ")
		if slices.ContainsFunc([]string{"http", "https", "Check-", "Retries", "Force"}, func(s string) bool { return strings.HasPrefix(name, "Acquire::"+s) }) {
			fetching.WriteString(line)
		}
	}
	m.Write("etc/apt/apt.conf.d/90test", fetching.String())

	const authorities = "usr/local/share/ca-certificates" // ca-certificates trusts these, once it is installed
	if _, err := os.Stat("/" + authorities); err == nil {
		// Debian's base has the folder, and nothing in it.
		if err := os.Remove(filepath.Join(m.dir, authorities)); err != nil && !errors.Is(err, os.ErrNotExist) {
			m.t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(m.dir, authorities), os.DirFS("/"+authorities)); err != nil {
			m.t.Fatal(err)
		}
	}

	env := map[string]string{}
	asked, err := exec.Command("go", "env", "-json", "GOPROXY", "GOSUMDB", "GONOPROXY", "GONOSUMDB", "GOPRIVATE", "GOINSECURE").Output()
	if err == nil {
		err = json.Unmarshal(asked, &env)
	}
	if err != nil {
		m.t.Fatalf("go env: %v", err)
	}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		env[name] = os.Getenv(name)
		env[strings.ToUpper(name)] = os.Getenv(strings.ToUpper(name))
	}
	if registry, err := exec.Command("npm", "config", "get", "registry").Output(); err == nil { // where npm is not, npm's default does
		env["npm_config_registry"] = strings.TrimSpace(string(registry))
	}
	for name, value := range env {
		if value != "" {
			m.args = append(m.args, "--setenv="+name+"="+value)
		}
	}
}

// Write writes a file of the machine, given from its root, and the folders above it.
func (m *Machine) Write(path, text string) {
	m.t.Helper()
	path = filepath.Join(m.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// Bind shows a file or folder of this machine in the other, for reading, from the next command on.
func (m *Machine) Bind(from, to string) { m.args = append(m.args, "--bind-ro="+from+":"+to) }

// Offline is the same machine without a network: it has its loopback interface, with all ports free, and nothing else.
func (m *Machine) Offline() *Machine {
	offline := *m
	offline.args = append(slices.Clone(m.args), "--private-network")
	return &offline
}

// Run types a command into a login shell of the user, and gives what is printed, errors too. Whatever it has started ends
// with it.
func (m *Machine) Run(user, command string) (string, error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), commandWithin)
	defer cancel()
	args := append(slices.Clone(m.args), "--user="+user, "bash", "-lc", "exec 2>&1; cd; "+command)
	cmd := exec.CommandContext(ctx, "systemd-nspawn", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends the machine, and then itself
	cmd.WaitDelay = 20 * time.Second
	var out, nspawn bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &nspawn
	began := time.Now()
	err := errors.Join(cmd.Run(), ctx.Err())
	m.t.Logf("%s $ %s   (%.1f s)\n%s", user, command, time.Since(began).Seconds(), out.String())
	if err != nil {
		err = fmt.Errorf("%w %s", err, nspawn.String())
	}
	return out.String(), err
}

// Must runs what must not fail.
func (m *Machine) Must(user, command string) string {
	m.t.Helper()
	out, err := m.Run(user, command)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// Root is Must for an administrator, whom Debian's packages ask nothing.
func (m *Machine) Root(command string) string {
	m.t.Helper()
	return m.Must("root", "export DEBIAN_FRONTEND=noninteractive; "+command)
}
