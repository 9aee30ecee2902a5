//go:build deploy

package release

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"sightglass/infra/test/internal/machine"
	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
	"sightglass/ingester/txfile"
)

// number is Debian's form of version.
const number = "0.0.1~test"

// newer is the version of the package that replaces the release's.
const newer = "v0.0.1"

// deb returns the package of an architecture in a release's folder.
func deb(out, architecture string) string {
	return filepath.Join(out, "sightglass_"+number+"_"+architecture+".deb")
}

// dpkgDeb returns what dpkg-deb prints.
func dpkgDeb(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("dpkg-deb", args...).Output()
	if err != nil {
		t.Fatalf("dpkg-deb %s: %v", args, err)
	}
	return string(out)
}

// TestDeb_Contents: what each architecture's package says and has.
func TestDeb_Contents(t *testing.T) {
	for _, architecture := range architectures {
		t.Run(architecture, func(t *testing.T) {
			path := deb(release(t), architecture)
			for field, want := range map[string]string{
				"Package": "sightglass", "Version": number, "Architecture": architecture, "Suggests": "redis-server",
				"Depends": "libc6 (>= 2.34), libzmq5 (>= 4.3.4), systemd-standalone-sysusers | systemd",
			} {
				if got := strings.TrimSpace(dpkgDeb(t, "--field", path, field)); got != want {
					t.Errorf("%s: got %q, want %q", field, got, want)
				}
			}
			list := dpkgDeb(t, "--contents", path)
			for file, mode := range map[string]string{
				"/usr/bin/sightglass":                                         "-rwxr-xr-x",
				"/usr/lib/systemd/system/sightglass.service":                  "-rw-r--r--",
				"/usr/lib/systemd/system/sightglass.service.d/hardening.conf": "-rw-r--r--",
				"/usr/lib/systemd/system/sightglass.service.d/home-node.conf": "-rw-r--r--",
				"/usr/lib/sysusers.d/sightglass.conf":                         "-rw-r--r--",
				"/usr/share/sightglass/block-574200.blk":                      "-rw-r--r--",
				"/usr/share/doc/sightglass/copyright":                         "-rw-r--r--",
				"/usr/share/doc/sightglass/CHANGELOG.md.gz":                   "-rw-r--r--",
				"/etc/sightglass/sightglass.env":                              "-rw-------",
			} {
				if !regexp.MustCompile(`(?m)^` + mode + ` root/root .* \.` + regexp.QuoteMeta(file) + `$`).MatchString(list) {
					t.Errorf("got no %s with mode %s and owner root:\n%s", file, mode, list)
				}
			}
			dir := t.TempDir()
			dpkgDeb(t, "--raw-extract", path, dir)
			if got := read(t, filepath.Join(dir, "DEBIAN/conffiles")); got != "/etc/sightglass/sightglass.env\n" {
				t.Errorf("conffiles: got %q, want the settings", got)
			}
			const start = "ExecStart=/usr/bin/sightglass run\n"
			if unit := read(t, filepath.Join(dir, "usr/lib/systemd/system/sightglass.service")); !strings.Contains(unit, start) {
				t.Errorf("got a unit without %q:\n%s", start, unit)
			}
			licences := read(t, filepath.Join(dir, "usr/share/doc/sightglass/copyright"))
			for _, module := range []string{"github.com/pebbe/zmq4", "github.com/gofiber/fiber/v2", "Go go1."} {
				if !strings.Contains(licences, "\n==== "+module) {
					t.Errorf("copyright: got no licence of %s", module)
				}
			}
			if got := glibc(t, filepath.Join(dir, "usr/bin/sightglass")); got > 34 {
				t.Errorf("got a program for glibc 2.%d, want at most the 2.34 of Depends", got)
			}
		})
	}
}

// glibc returns the minor version of the newest symbols of glibc 2 that a program needs.
func glibc(t *testing.T, program string) (newest int) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if minor, ok := strings.CutPrefix(s.Version, "GLIBC_2."); ok {
			minor, _, _ = strings.Cut(minor, ".")
			if n, err := strconv.Atoi(minor); err == nil {
				newest = max(newest, n)
			}
		}
	}
	return newest
}

// TestDeb_OnDebian installs, upgrades, removes and purges the package on two booted Debians, one of which has
// redis-server: testdata/package.sh. They have no network then; apt-get has downloaded the dependencies before.
func TestDeb_OnDebian(t *testing.T) {
	out := release(t)
	cmd := exec.Command("infra/deb/build", newer, "newer", runtime.GOARCH)
	cmd.Dir = filepath.Join(temporary, "here")
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "NFPM="+tool("nfpm"))
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	name := fmt.Sprintf("sightglass_%s_%s.deb", strings.TrimPrefix(newer, "v"), runtime.GOARCH)
	second := filepath.Join(temporary, "here/newer", name)
	ingester := filepath.Join(unpack(t, archive(out, runtime.GOARCH)), "bin/ingester")
	node := recording(t)
	for suite, m := range map[string]struct {
		packages string
		redis    int // whether redis-server is one of them
	}{"bookworm": {"systemd-sysv adduser redis-server", 1}, "trixie": {"systemd-sysv adduser", 0}} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			debian := machine.New(t, suite)
			debian.Bind(deb(out, runtime.GOARCH), "/srv/first.deb")
			debian.Bind(second, "/srv/second.deb")
			debian.Bind(ingester, "/srv/ingester")
			debian.Bind(node, "/srv/node.jsonl")
			debian.Write("srv/node.service", "[Service]\nExecStart=/srv/ingester replay --rpc-listen 127.0.0.1:8332 /srv/node.jsonl")
			const install = "apt-get install -y -qq --no-install-recommends "
			debian.Root("apt-get update -qq && " + install + m.packages + " >/dev/null")
			debian.Root(install + "--download-only /srv/first.deb >/dev/null")
			debian.Boot(fmt.Sprintf("SECOND=%s REDIS=%d\n%s", newer, m.redis, read(t, "testdata/package.sh")))
		})
	}
}

// recording returns a recording of a node that receives a block's transactions at once.
func recording(t *testing.T) (path string) {
	t.Helper()
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "node.jsonl")
	w, err := transcript.NewWriter(path, 1<<40, func() ([]transcript.Line, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	for i, tx := range file.Transactions[1:] { // without the coinbase
		var body bytes.Buffer
		if err := tx.Serialize(&body); err != nil {
			t.Fatal(err)
		}
		change, err := hex.DecodeString(tx.TxHash().String())
		if err != nil {
			t.Fatal(err)
		}
		change = binary.LittleEndian.AppendUint64(append(change, 'A'), uint64(i+1))
		for _, line := range []transcript.Line{
			{Topic: transcript.TopicRawTx, Body: body.Bytes(), Counter: uint32(i)},
			{Topic: transcript.TopicSequence, Body: change, Counter: uint32(i)},
		} {
			if err := w.Write(line); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDeb_ReplacesPreRelease: Debian considers a pre-release older than its release.
func TestDeb_ReplacesPreRelease(t *testing.T) {
	release := strings.TrimPrefix(newer, "v")
	if out, err := exec.Command("dpkg", "--compare-versions", number, "lt", release).CombinedOutput(); err != nil {
		t.Errorf("got %v, %s, want %s older than %s", err, out, number, release)
	}
}
