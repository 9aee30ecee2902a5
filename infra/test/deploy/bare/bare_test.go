//go:build deploy

// Package bare follows the README as a newcomer, on bare machines.
package bare

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sightglass/infra/test/internal/machine"
	"sightglass/infra/test/internal/programs"
)

// A newcomer is an unprivileged user of a bare machine, with a clone of this repository.
type newcomer struct {
	*machine.Machine
	t *testing.T
}

const (
	user  = "newcomer"
	clone = "cd sightglass && "
)

// TestReadme_CommandsOnBareMachine runs the README's commands on two Debians: without the right to install packages,
// the demo, the demo without a network, the installation for the tests, and one test of each module. Go's caches are
// empty. Debian 12's Go is too old, so Go is installed as https://go.dev/doc/install says; Debian 13's Go fetches the
// version of go.work.
func TestReadme_CommandsOnBareMachine(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			n := prepare(t, suite)
			if suite == "bookworm" {
				n.installGo()
			} else {
				n.rejected("make demo", "golang-go")
			}
			n.Root("apt-get install -y -qq sudo")
			n.rejected("make demo", "libzmq3-dev") // the user is not in sudoers
			n.allowSudo("root")
			n.demo()
			n.deps(suite)
			n.tests(suite)
		})
	}
}

// prepare runs the README's commands before make, and returns a machine with a clone.
func prepare(t *testing.T, suite string) newcomer {
	t.Helper()
	n := newcomer{machine.New(t, suite), t}
	n.Bind(bundle(t), "/srv/sightglass.bundle")
	script, err := filepath.Abs("testdata/demo.sh")
	if err != nil {
		t.Fatal(err)
	}
	n.Bind(script, "/srv/demo.sh")
	readme, err := os.ReadFile("../../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"sudo apt-get install make git", "make demo", "make test", "make deps"} {
		if !strings.Contains(string(readme), "\n    "+line) {
			t.Errorf("got no %q in the README", line)
		}
	}
	n.Root("apt-get update -qq && apt-get install -y -qq make git >/dev/null && useradd --create-home --shell /bin/bash " + user)
	n.Must(user, "git clone -q /srv/sightglass.bundle sightglass")
	return n
}

// bundle is a git bundle of the working tree, with uncommitted changes, readable by every user.
func bundle(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	programs.CopySources(t, dir)
	file := filepath.Join(t.TempDir(), "sightglass.bundle")
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"add", "--all", "--force"},
		{"-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "Working tree"},
		{"bundle", "create", "-q", file, "HEAD", "main"},
	} {
		if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	return file
}

// rejected runs a command that must fail with a reason and change nothing: the recipe exits with 1, and make with 2.
func (n newcomer) rejected(command, reason string) string {
	n.t.Helper()
	const left = clone + "git status --porcelain --ignored" // an earlier command may have built files
	n.Root("dpkg-query -W >packages")
	before := n.Must(user, left)
	out, err := n.Run(user, clone+command)
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(out, "] Error 1\n") {
		n.t.Errorf("%s: got %v, want a recipe that exits with 1", command, err)
	}
	if !strings.Contains(out, reason) {
		n.t.Errorf("%s: got output without %q:\n%s", command, reason, out)
	}
	changed := n.Root("dpkg-query -W | diff packages -; find /usr/sbin/policy-rc.d 2>/dev/null; true")
	if after := n.Must(user, left); changed != "" || after != before {
		n.t.Errorf("%s: got changed packages or files, want none:\n%s%s", command, changed, after)
	}
	return out
}

// installGo installs Go on a machine whose distribution has only an old one. After each mistake one line says what to do.
func (n newcomer) installGo() {
	n.t.Helper()
	const link = "https://go.dev/doc/install"
	oneLine := func(out string) {
		n.t.Helper()
		if printed, _, _ := strings.Cut(out, "make: ***"); strings.Count(printed, "\n") != 1 {
			n.t.Errorf("got several lines, want one:\n%s", printed)
		}
	}
	oneLine(n.rejected("make demo", link))
	n.Root("apt-get install -y -qq --no-install-recommends golang-go >/dev/null")
	oneLine(n.rejected("make demo", link))
	n.Root("apt-get purge -y -qq --autoremove golang-go >/dev/null")

	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		n.t.Fatal(err)
	}
	n.Bind(strings.TrimSpace(string(goroot)), "/usr/local/go")
	oneLine(n.rejected("make demo", "not in your PATH"))
	n.Must(user, `echo 'export PATH=$PATH:/usr/local/go/bin' >>.profile`)
	if out := n.rejected("make demo", "libzmq3-dev"); strings.Contains(out, "golang-go") {
		n.t.Errorf("got a request for a second Go, want none:\n%s", out)
	}
}

// allowSudo lets the user run commands as another user, or as none.
func (n newcomer) allowSudo(become string) {
	n.t.Helper()
	n.Write("etc/sudoers.d/newcomer", user+" ALL=("+become+") NOPASSWD: ALL\n")
}

// demo runs make demo twice: first on free ports, as other tests share this machine's, and then without a network on
// the default ports.
func (n newcomer) demo() {
	n.t.Helper()
	for _, m := range []struct {
		*machine.Machine
		command string
		ports   string
	}{
		{n.Machine, "EDGE_PORT=0 /srv/demo.sh", ""},
		{n.Offline(), "/srv/demo.sh", "port 8080: "},
	} {
		out, err := m.Run(user, clone+m.command)
		if err != nil || strings.Count(out, " USD\n") != 2 || !strings.Contains(out, m.ports) {
			n.t.Fatalf("%s: got %v, want a price on both edges and an orderly end", m.command, err)
		}
	}
}

// command matches the command that an administrator is to run.
var command = regexp.MustCompile(`(?m)^    (apt-get update && apt-get install .*)$`)

// deps installs the tests' packages. On one machine an administrator runs the printed command unchanged.
func (n newcomer) deps(suite string) {
	n.t.Helper()
	if suite == "trixie" {
		n.allowSudo("nobody")
		asked := command.FindStringSubmatch(n.rejected("make deps", "administrator"))
		if asked == nil {
			n.t.Fatal("got no command for an administrator, want one")
		}
		n.Root("yes | (" + asked[1] + ") >/dev/null")
	} else if out := n.Must(user, clone+"make deps"); !strings.Contains(out, "Installing by sudo apt-get: ") || !strings.Contains(out, "chromium") {
		n.t.Errorf("make deps: got output without the packages:\n%s", out)
	}
	if out := n.Must(user, clone+"make deps"); out != "" {
		n.t.Errorf("make deps, repeated: got output, want none:\n%s", out)
	}
}

// tests runs a test of each module, with the race detector where that costs little.
func (n newcomer) tests(suite string) {
	n.t.Helper()
	infra := "-run TestPage_BrowserScripts/chart ./infra/test/browser" // Chromium, Node.js and Redis
	if suite == "trixie" {
		infra = "-run 'TestDocs_ClientSnippetsRun/^(curl-client|curl-snapshot|python-websockets|redis-get)$' ./infra/test/e2e"
	}
	n.Must(user, clone+"make web")
	for _, test := range []string{"-race ./shared/contract", "./ingester/txfile", "./edge/realip", infra} {
		out := n.Must(user, clone+"go test -count=1 -v "+test)
		if !strings.Contains(out, "--- PASS: ") || strings.Contains(out, "--- SKIP: ") {
			n.t.Errorf("go test %s: got skipped or no tests, want all run:\n%s", test, out)
		}
	}
}
