//go:build deploy

package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A dpkg and an apt-get that record in $LOG what changes something, and what else changes the machine. dpkg knows amd64,
// and arm64 after it was added.
var standIns = map[string]string{
	"dpkg": `case $1 in
--print-architecture) echo amd64 ;;
--print-foreign-architectures) [ ! -e "$LOG.arm64" ] || echo arm64 ;;
--add-architecture) echo "dpkg $*" >>"$LOG"; touch "$LOG.arm64" ;;
--remove-architecture) echo "dpkg $*" >>"$LOG"; rm "$LOG.arm64" ;;
esac`,
	"dpkg-query": `[ ! -e "$LOG.installed" ] || printf 'amd64 install ok installed\narm64 %s\n' "$(cat "$LOG.installed")"`,
	"apt-get":    `echo "apt-get $*" >>"$LOG"; [ "$1" != update ] || [ -z "$MIRROR_LACKS" ]`,
	"id":         `echo "$USER_ID"`,
	"sudo":       "exit 1",
	"tee":        "cat >/dev/null",
	"chmod":      "",
	"systemctl":  "",
}

// TestInstallPackages_OtherArchitecture: a package of another architecture makes dpkg know that one first. Without the
// right to do that, the administrator's command includes it. A mirror without it leaves no trace.
func TestInstallPackages_OtherArchitecture(t *testing.T) {
	for name, c := range map[string]struct {
		env    []string
		arm64  string // the status of the package for arm64; empty: no architecture has it
		want   string // what ran
		says   string
		failed bool
	}{
		"nothing is installed": {
			want: "dpkg --add-architecture arm64\napt-get update -qq\napt-get install -y -qq --no-install-recommends libzmq5:arm64\n",
			says: "Adding an architecture",
		},
		"amd64 has it": {
			arm64: "unknown ok not-installed",
			want:  "dpkg --add-architecture arm64\napt-get update -qq\napt-get install -y -qq --no-install-recommends libzmq5:arm64\n",
		},
		"both have it": {arm64: "install ok installed"},
		"no mirror has it": {
			env:  []string{"MIRROR_LACKS=arm64"},
			want: "dpkg --add-architecture arm64\napt-get update -qq\ndpkg --remove-architecture arm64\n",
			says: "another mirror", failed: true,
		},
		"a user without sudo": {
			env:    []string{"USER_ID=1000"},
			says:   "\n    dpkg --add-architecture arm64 && apt-get update && apt-get install --no-install-recommends libzmq5:arm64\n",
			failed: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			log := filepath.Join(dir, "log")
			for program, script := range standIns {
				if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if c.arm64 != "" {
				if err := os.WriteFile(log+".installed", []byte(c.arm64), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(filepath.Join(repository(), "infra/install-packages"), "libzmq5:arm64")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "LOG="+log, "MIRROR_LACKS=", "USER_ID=0")
			cmd.Env = append(cmd.Env, c.env...)
			out, err := cmd.CombinedOutput()
			if (err != nil) != c.failed || !strings.Contains(string(out), c.says) {
				t.Errorf("got %v, %s, want failure %v and %q", err, out, c.failed, c.says)
			}
			ran, _ := os.ReadFile(log) // absent if nothing ran
			if string(ran) != c.want {
				t.Errorf("got commands\n%swant\n%s", ran, c.want)
			}
		})
	}
}
