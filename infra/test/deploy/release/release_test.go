//go:build deploy

// Package release tests infra/release and infra/deb: the release archives, the Debian package, and the check for
// vulnerabilities.
package release

import (
	"archive/tar"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sightglass/infra/test/internal/programs"
	"sightglass/ingester/testblock"
)

// built builds a release of all architectures in a folder, and returns the folder of its files.
func built(dir string, env ...string) (out string, err error) {
	cmd := exec.Command("infra/release/build", append([]string{version, "out"}, architectures...)...)
	cmd.Dir = dir
	tools := []string{"CYCLONEDX=" + tool("cyclonedx-gomod"), "NFPM=" + tool("nfpm")}
	cmd.Env = slices.Concat(os.Environ(), tools, []string{"SOURCE_DATE_EPOCH=1700000000"}, env)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, text)
	}
	return filepath.Join(dir, "out"), nil
}

// archive returns the archive of an architecture in a release's folder.
func archive(out, architecture string) string {
	return filepath.Join(out, "sightglass-"+version+"-linux-"+architecture+".tar.gz")
}

// TestRelease_IsReproducible builds a release a second time in another folder with another environment. With
// SIGHTGLASS_COLD=1 it does not use Go's cache, which costs six minutes of CPU time; otherwise equal compilations run
// once. Then it checks the contents.
func TestRelease_IsReproducible(t *testing.T) {
	first := release(t)
	environment := []string{"TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "GOFLAGS=-v", "GOAMD64=v3", "CGO_CFLAGS=-O0 -g"}
	if os.Getenv("SIGHTGLASS_COLD") != "" {
		environment = append(environment, "GOCACHE="+t.TempDir())
	}
	elsewhere := filepath.Join(t.TempDir(), "somewhere/else")
	programs.CopySources(t, elsewhere)
	second, err := built(elsewhere, environment...)
	if err != nil {
		t.Fatal(err)
	}
	sums, again := read(t, filepath.Join(first, "SHA256SUMS")), read(t, filepath.Join(second, "SHA256SUMS"))
	if files := 2 * len(architectures); sums != again || strings.Count(sums, "\n") != files {
		t.Errorf("got different checksums, want equal ones of %d files:\n%s%s", files, sums, again)
	}
	check := exec.Command("sha256sum", "--check", "SHA256SUMS")
	check.Dir = first
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("got %v, want valid checksums:\n%s", err, out)
	}
	for _, architecture := range architectures {
		t.Run(architecture, func(t *testing.T) { contents(t, architecture, unpack(t, archive(first, architecture))) })
	}
}

// contents checks an unpacked archive.
func contents(t *testing.T, architecture, dir string) {
	t.Run("programs", func(t *testing.T) { programsIn(t, architecture, dir) })
	t.Run("bills of material", func(t *testing.T) { bills(t, dir) })
	t.Run("install", func(t *testing.T) {
		root := t.TempDir()
		cmd := exec.Command(filepath.Join(dir, "infra/systemd/install"))
		cmd.Env = append(os.Environ(), "DESTDIR="+root)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, file := range []string{
			"lib/systemd/system/sightglass-ingester.service", "lib/systemd/system/sightglass.service",
			"share/sightglass/block-574200.blk", "lib/sightglass/libzmq.so.5",
		} {
			exists(t, filepath.Join(root, "usr/local", file))
		}
	})
	for _, file := range []string{
		"LICENSE", "README.md", "CHANGELOG.md", "docs/clients.md", "infra/kubernetes/base/kustomization.yaml",
	} {
		exists(t, filepath.Join(dir, file))
	}
	for _, notice := range strings.Split(read(t, filepath.Join(dir, "THIRD-PARTY.txt")), "\n==== ")[1:] {
		if name, text, _ := strings.Cut(notice, "\n"); len(strings.TrimSpace(text)) < 200 {
			t.Errorf("got no licence of %s", name)
		}
	}
}

// unpack extracts an archive and returns its one folder. Entries must belong to root, have the given time, and be
// sorted.
func unpack(t *testing.T, archive string) string {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimSuffix(h.Name, "/"))
		if mode := h.Mode & 0o7777; h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 1700000000 || mode != 0o755 && mode != 0o644 {
			t.Errorf("%s: got owner %d:%d, time %v, mode %o, want root's and the given time", h.Name, h.Uid, h.Gid, h.ModTime, mode)
		}
		if strings.Contains(h.Name, "/secrets") {
			t.Errorf("%s: got a file of secrets, want none", h.Name)
		}
	}
	byFolder := func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) }
	if !slices.IsSortedFunc(names, byFolder) {
		t.Errorf("got entries %q, want them sorted", names)
	}
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", archive, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, names[0])
}

// programsIn runs the programs, those of another architecture in an emulator, and checks what they link.
func programsIn(t *testing.T, architecture, dir string) {
	for _, name := range []string{"edge", "ingester", "sightglass"} {
		path := filepath.Join(dir, "bin", name)
		line, err := command(t, architecture, path, "version").CombinedOutput()
		want := "^" + name + " " + version + " .* linux/" + architecture + "\n$"
		if err != nil || !regexp.MustCompile(want).Match(line) {
			t.Errorf("got %v, %q, want %q", err, line, want)
		}
		text := read(t, path)
		if strings.Contains(text, repository()) || strings.Contains(text, temporary) {
			t.Errorf("%s: got a folder of this machine in the binary, want none", name)
		}
	}
	block := filepath.Join(dir, "share/sightglass/block-574200.blk")
	line, err := command(t, architecture, filepath.Join(dir, "bin/sightglass"), "price", block).CombinedOutput()
	if found := regexp.MustCompile(`: ([0-9.]+) USD`).FindSubmatch(line); err != nil || found == nil {
		t.Errorf("sightglass price: got %v, %s, want a price", err, line)
	} else if usd, _ := strconv.ParseFloat(string(found[1]), 64); math.Abs(usd/testblock.Price574200-1) > 0.01 {
		t.Errorf("sightglass price: got %s USD, want %.2f within 1 %%", found[1], testblock.Price574200)
	}
	libraries := func(name string) []string {
		f, err := elf.Open(filepath.Join(dir, "bin", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		needed, err := f.ImportedLibraries()
		if err != nil {
			t.Fatal(err)
		}
		return needed
	}
	if got := libraries("edge"); len(got) > 0 {
		t.Errorf("edge: got libraries %v, want none", got)
	}
	for _, name := range []string{"ingester", "sightglass"} {
		if got := libraries(name); !slices.Contains(got, "libzmq.so.5") {
			t.Errorf("%s: got libraries %v, want Debian's libzmq.so.5", name, got)
		}
	}
}

func bills(t *testing.T, dir string) {
	for name, want := range map[string]string{
		"edge": "github.com/gofiber/fiber/v2", "ingester": "github.com/pebbe/zmq4", "sightglass": "github.com/pebbe/zmq4",
	} {
		var bill struct {
			BOMFormat  string
			Metadata   struct{ Component struct{ Version string } }
			Components []struct{ Name, Version, PURL string }
		}
		if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, name+".cdx.json"))), &bill); err != nil {
			t.Fatal(err)
		}
		names := map[string]string{}
		for _, c := range bill.Components {
			names[c.Name] = c.Version
		}
		if bill.BOMFormat != "CycloneDX" || bill.Metadata.Component.Version != version || names[want] == "" || names["std"] != runtime.Version() {
			t.Errorf("%s: got a %s document of version %q with %s %q, std %q; want CycloneDX with the release's versions", name, bill.BOMFormat, bill.Metadata.Component.Version, want, names[want], names["std"])
		}
	}
}

// TestRelease_RequiresCompiler: an architecture that cannot be built whole is rejected, and nothing is built.
func TestRelease_RequiresCompiler(t *testing.T) {
	want := map[string]string{"riscv64": "cannot be built"}
	if runtime.GOARCH == "amd64" {
		want["arm64"] = "libzmq5:arm64"
	}
	for architecture, want := range want {
		out := filepath.Join(t.TempDir(), "out")
		cmd := exec.Command("infra/release/build", version, out, runtime.GOARCH, architecture)
		cmd.Dir = repository()
		cmd.Env = append(os.Environ(), "PATH="+withoutCrossCompiler(t))
		if text, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: got %v, %s, want an error with %q", architecture, err, text, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: got a folder for the release, want none", architecture)
		}
	}
}

// withoutCrossCompiler returns a PATH with only what the script runs before it compiles.
func withoutCrossCompiler(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"bash", "dirname", "git", "go", "env", "sed"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRelease_RequiresVersionTag: a version without a tag, or with uncommitted changes, is rejected.
// TestRelease_RequiresRecentBlock: two years after the newest block that the program knows, a release fails.
func TestRelease_RequiresRecentBlock(t *testing.T) {
	cmd := exec.Command("infra/release/build", version, t.TempDir())
	cmd.Dir = repository()
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.FormatInt(time.Now().AddDate(2, 0, 0).Unix(), 10))
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "docs/releases.md says how to renew it") {
		t.Errorf("got %v, %s, want an error that names the page", err, out)
	}
}

func TestRelease_RequiresVersionTag(t *testing.T) {
	for _, version := range []string{"unknown", "0d6008e", "v1.2", "v1.2.3-dirty", "v1.2.3 x"} {
		cmd := exec.Command("infra/release/build", version, t.TempDir())
		cmd.Dir = repository()
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "git tag v0.1.0") {
			t.Errorf("%s: got %v, %s, want an error that names git tag", version, err, out)
		}
	}
}
