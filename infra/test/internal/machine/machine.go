// Package machine creates Debian machines for tests. A machine is a systemd-nspawn container with its own root file system;
// it shares only the kernel and the network of the host. The package needs root, debootstrap and systemd-nspawn.
package machine

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sightglass/infra/test/internal/programs"
)

// commandTimeout is the maximum duration of a command. The longest builds everything with an empty cache, which takes two
// minutes on one core.
const commandTimeout = 10 * time.Minute

// A Machine is a new machine, which is removed when the test ends.
type Machine struct {
	t    testing.TB
	dir  string   // root folder
	args []string // arguments of systemd-nspawn for each command
}

// Cache returns the folder for files that later runs reuse.
func Cache(t testing.TB) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "sightglass-deploy")
}

// New creates a machine with a minimal Debian suite, such as bookworm or trixie, as debootstrap installs it. The machine
// uses the host's package mirrors, Go proxy, npm registry and DNS. The test is skipped, or fails in CI, without root or the
// programs.
func New(t testing.TB, suite string) *Machine {
	t.Helper()
	if os.Geteuid() != 0 {
		programs.SkipOrFail(t, "creating a machine needs root")
	}
	for _, program := range []string{"debootstrap", "systemd-nspawn"} {
		if _, err := exec.LookPath(program); err != nil {
			programs.SkipOrFail(t, program+" is not installed: `make test-deploy` installs it")
		}
	}
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.Command(filepath.Join(filepath.Dir(file), "base"), Cache(t), suite)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	base, err := cmd.Output()
	if err != nil {
		t.Fatalf("creating the base system of %s: %v\n%s", suite, err, stderr.String())
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
	m.configureNetwork()
	m.Write("etc/dpkg/dpkg.cfg.d/test", "force-unsafe-io\n") // without fsync
	return m
}

// configureNetwork copies the host's settings for Debian, Go and npm registries, proxies and additional certificate
// authorities.
func (m *Machine) configureNetwork() {
	m.t.Helper()
	dump, err := exec.Command("apt-config", "dump").Output()
	if err != nil {
		m.t.Fatalf("apt-config dump: %v", err)
	}
	var settings strings.Builder
	for line := range strings.Lines(string(dump)) {
		name, _, _ := strings.Cut(line, " ")
		if slices.ContainsFunc([]string{"http", "https", "Check-", "Retries", "Force"}, func(s string) bool { return strings.HasPrefix(name, "Acquire::"+s) }) {
			settings.WriteString(line)
		}
	}
	m.Write("etc/apt/apt.conf.d/90test", settings.String())

	const authorities = "usr/local/share/ca-certificates" // the package ca-certificates trusts these when it is installed
	if _, err := os.Stat("/" + authorities); err == nil {
		// The base system has an empty folder.
		if err := os.Remove(filepath.Join(m.dir, authorities)); err != nil && !errors.Is(err, os.ErrNotExist) {
			m.t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(m.dir, authorities), os.DirFS("/"+authorities)); err != nil {
			m.t.Fatal(err)
		}
	}

	env := map[string]string{}
	output, err := exec.Command("go", "env", "-json", "GOPROXY", "GOSUMDB", "GONOPROXY", "GONOSUMDB", "GOPRIVATE", "GOINSECURE").Output()
	if err == nil {
		err = json.Unmarshal(output, &env)
	}
	if err != nil {
		m.t.Fatalf("go env: %v", err)
	}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		env[name] = os.Getenv(name)
		env[strings.ToUpper(name)] = os.Getenv(strings.ToUpper(name))
	}
	if registry, err := exec.Command("npm", "config", "get", "registry").Output(); err == nil { // without npm on the host, npm's default registry is used
		env["npm_config_registry"] = strings.TrimSpace(string(registry))
	}
	for name, value := range env {
		if value != "" {
			m.args = append(m.args, "--setenv="+name+"="+value)
		}
	}
}

// Write writes a file of the machine and creates its parent folders. path is relative to the machine's root.
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

// Bind mounts a file or folder of the host read-only in the machine, for all later commands.
func (m *Machine) Bind(from, to string) { m.args = append(m.args, "--bind-ro="+from+":"+to) }

// Offline returns the same machine without a network: it has only its own loopback interface, on which all ports are unused.
func (m *Machine) Offline() *Machine {
	offline := *m
	offline.args = append(slices.Clone(m.args), "--private-network")
	return &offline
}

// Run runs a command in a login shell of the user, and returns its standard output and standard error. Processes that it
// has started end with it. The error is that of the command or of systemd-nspawn, or the timeout.
func (m *Machine) Run(user, command string) (string, error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), commandTimeout)
	defer cancel()
	args := append(slices.Clone(m.args), "--user="+user, "bash", "-lc", "exec 2>&1; cd; "+command)
	cmd := exec.CommandContext(ctx, "systemd-nspawn", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // systemd-nspawn stops the machine and exits
	cmd.WaitDelay = 20 * time.Second
	var out, nspawn bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &nspawn
	start := time.Now()
	err := errors.Join(cmd.Run(), ctx.Err())
	m.t.Logf("%s $ %s   (%.1f s)\n%s", user, command, time.Since(start).Seconds(), out.String())
	if err != nil {
		err = fmt.Errorf("%w %s", err, nspawn.String())
	}
	return out.String(), err
}

// Must is like Run, but fails the test if the command fails.
func (m *Machine) Must(user, command string) string {
	m.t.Helper()
	out, err := m.Run(user, command)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// Root is like Must as root, with apt in non-interactive mode.
func (m *Machine) Root(command string) string {
	m.t.Helper()
	return m.Must("root", "export DEBIAN_FRONTEND=noninteractive; "+command)
}

//go:embed boot.sh
var bootScript string

// inside is the unit that runs the script of Boot.
const inside = `[Unit]
After=basic.target
Requires=basic.target
[Service]
Type=oneshot
ExecStart=/bin/bash /boot.sh
StandardOutput=file:/boot.log
StandardError=inherit
`

// bootTimeout is the maximum duration of a boot and its script.
const bootTimeout = 5 * time.Minute

// LockBoot waits until no other test has booted a machine, and returns a function that lets others boot. Where the host
// itself does not run systemd, all booted machines share one cgroup, in which each systemd would delete the others' units.
func LockBoot(t testing.TB) (unlock func()) {
	t.Helper()
	if err := os.MkdirAll(Cache(t), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(Cache(t), "boot.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}

// Boot boots the machine with systemd as its first process, which must be installed, and without a network other than
// its loopback interface. It runs a bash script as root there, with the functions of boot.sh, and switches the machine
// off. The test fails if a command of the script fails.
func (m *Machine) Boot(script string) {
	m.t.Helper()
	m.Write("boot.sh", bootScript)
	m.Write("boot-script", script)
	m.Write("etc/systemd/system/inside.service", inside)
	defer LockBoot(m.t)()
	args := slices.DeleteFunc(slices.Clone(m.args), func(arg string) bool { return arg == "--as-pid2" })
	args = append(args, "--private-network", "--boot", "systemd.unit=inside.service", "systemd.firstboot=no",
		"systemd.mask=systemd-networkd-wait-online.service") // there is no network to wait for
	ctx, cancel := context.WithTimeout(m.t.Context(), bootTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-nspawn", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // systemd-nspawn stops the machine and exits
	cmd.WaitDelay = 20 * time.Second
	start := time.Now()
	console, err := cmd.CombinedOutput()
	log, _ := os.ReadFile(filepath.Join(m.dir, "boot.log")) // absent if the boot failed
	m.t.Logf("booted   (%.1f s)\n%s", time.Since(start).Seconds(), log)
	if err != nil || !strings.HasSuffix(string(log), "\nexit 0\n") {
		m.t.Fatalf("got %v, want exit 0; the console:\n%s", err, console)
	}
}
