//go:build deploy

// Package bare does what a newcomer does, on machines that have nothing.
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

// A newcomer is a user of a bare machine, who is not root, with a clone of this repository.
type newcomer struct {
	*machine.Machine
	t *testing.T
}

const (
	user  = "newcomer"
	clone = "cd sightglass && "
)

// TestReadme_CommandsOnBareMachine goes through the README on two Debians: what it says to those who may not install anything, the demo,
// the demo without a network, and the tests as far as they install things, with one test of each module. Go's caches
// are empty. Debian 12 has a Go that is too old, so it comes as https://go.dev/doc/install says; Debian 13 has one that
// fetches the version of go.work.
func TestReadme_CommandsOnBareMachine(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			n := arrive(t, suite)
			if suite == "bookworm" {
				n.getGo()
			} else {
				n.refused("make demo", "golang-go")
			}
			n.Root("apt-get install -y -qq sudo")
			n.refused("make demo", "libzmq3-dev") // sudo knows nothing of the user
			n.may("root")
			n.demo()
			n.deps(suite)
			n.tests(suite)
		})
	}
}

// arrive types what the README has before make, and gives a machine with a clone.
func arrive(t *testing.T, suite string) newcomer {
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
			t.Errorf("the README does not say %q", line)
		}
	}
	n.Root("apt-get update -qq && apt-get install -y -qq make git >/dev/null && useradd --create-home --shell /bin/bash " + user)
	n.Must(user, "git clone -q /srv/sightglass.bundle sightglass")
	return n
}

// bundle is the repository as it is now, with what is not committed, in a file that can be cloned by anyone.
func bundle(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	programs.Sources(t, dir)
	file := filepath.Join(t.TempDir(), "sightglass.bundle")
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"add", "--all", "--force"},
		{"-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "As it is now"},
		{"bundle", "create", "-q", file, "HEAD", "main"},
	} {
		if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	return file
}

// refused types a command that must fail for a reason, and change nothing: a recipe exits with 1, and make then with 2.
func (n newcomer) refused(command, reason string) string {
	n.t.Helper()
	const left = clone + "git status --porcelain --ignored" // an earlier command may have built something
	n.Root("dpkg-query -W >packages")
	before := n.Must(user, left)
	out, err := n.Run(user, clone+command)
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(out, "] Error 1\n") {
		n.t.Errorf("%s: %v, want a recipe that exits with 1", command, err)
	}
	if !strings.Contains(out, reason) {
		n.t.Errorf("%s does not say %q:\n%s", command, reason, out)
	}
	changed := n.Root("dpkg-query -W | diff packages -; find /usr/sbin/policy-rc.d 2>/dev/null; true")
	if after := n.Must(user, left); changed != "" || after != before {
		n.t.Errorf("%s has left something half done:\n%s%s", command, changed, after)
	}
	return out
}

// getGo is how Go comes to a machine whose distribution has none that is new enough. At each wrong turn one line says what
// to do.
func (n newcomer) getGo() {
	n.t.Helper()
	const link = "https://go.dev/doc/install"
	oneLine := func(out string) {
		n.t.Helper()
		if said, _, _ := strings.Cut(out, "make: ***"); strings.Count(said, "\n") != 1 {
			n.t.Errorf("want one line:\n%s", said)
		}
	}
	oneLine(n.refused("make demo", link))
	n.Root("apt-get install -y -qq --no-install-recommends golang-go >/dev/null")
	oneLine(n.refused("make demo", link))
	n.Root("apt-get purge -y -qq --autoremove golang-go >/dev/null")

	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		n.t.Fatal(err)
	}
	n.Bind(strings.TrimSpace(string(goroot)), "/usr/local/go")
	oneLine(n.refused("make demo", "not in your PATH"))
	n.Must(user, `echo 'export PATH=$PATH:/usr/local/go/bin' >>.profile`)
	if out := n.refused("make demo", "libzmq3-dev"); strings.Contains(out, "golang-go") {
		n.t.Errorf("it asks for a second Go:\n%s", out)
	}
}

// may lets the user become root, or nobody.
func (n newcomer) may(become string) {
	n.t.Helper()
	n.Write("etc/sudoers.d/newcomer", user+" ALL=("+become+") NOPASSWD: ALL\n")
}

// demo types make demo twice. The first time it shares this machine's ports with other tests and takes free ones; the second
// time there is no network, and it has the usual ones.
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
			n.t.Fatalf("%s: %v, want a price on both edges and an end in order", m.command, err)
		}
	}
}

// command is what an administrator is asked for.
var command = regexp.MustCompile(`(?m)^    (apt-get update && apt-get install .*)$`)

// deps installs what the tests need. On one machine an administrator does, who does what is asked for, word for word.
func (n newcomer) deps(suite string) {
	n.t.Helper()
	if suite == "trixie" {
		n.may("nobody")
		asked := command.FindStringSubmatch(n.refused("make deps", "administrator"))
		if asked == nil {
			n.t.Fatal("no command to ask for")
		}
		n.Root("yes | (" + asked[1] + ") >/dev/null")
	} else if out := n.Must(user, clone+"make deps"); !strings.Contains(out, "Installing by sudo apt-get: ") || !strings.Contains(out, "chromium") {
		n.t.Errorf("make deps does not say what it installs:\n%s", out)
	}
	if out := n.Must(user, clone+"make deps"); out != "" {
		n.t.Errorf("make deps again says:\n%s", out)
	}
}

// tests is a test of each module, with the race detector as make test has it where that costs little.
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
			n.t.Errorf("go test %s has not run everything:\n%s", test, out)
		}
	}
}
