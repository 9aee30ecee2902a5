//go:build deploy

// Package release tests infra/release: the release archives, and the check for vulnerabilities.
package release

import (
	"archive/tar"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sightglass/infra/test/internal/programs"
)

const version = "v0.0.0-test"

// copied copies the repository to a folder.
func copied(t *testing.T, folder string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), folder)
	programs.CopySources(t, dir)
	return dir
}

func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// tool returns the path of a program that make test-deploy builds.
func tool(t *testing.T, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(repository(t), "bin/tools", name+"-*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("got no %s in bin/tools: make test-deploy builds it", name)
	}
	return found[len(found)-1]
}

// released builds a release for this machine in a folder, and returns the archive and its checksum.
func released(t *testing.T, dir string, env ...string) (archive, sum string) {
	t.Helper()
	cmd := exec.Command("infra/release/build", version, "out", runtime.GOARCH)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "CYCLONEDX="+tool(t, "cyclonedx-gomod"))
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	sums, err := os.ReadFile(filepath.Join(dir, "out/SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "out", "sightglass-"+version+"-linux-"+runtime.GOARCH+".tar.gz"), string(sums)
}

// TestRelease_IsReproducible builds a release twice, the second time in another folder with another environment. With
// SIGHTGLASS_COLD=1 the second build does not use Go's cache, which costs three minutes of CPU time; otherwise equal
// compilations run once. Then it checks the contents.
func TestRelease_IsReproducible(t *testing.T) {
	first, sums := released(t, copied(t, "here"))
	environment := []string{"TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "GOFLAGS=-v", "GOAMD64=v3", "CGO_CFLAGS=-O0 -g"}
	if os.Getenv("SIGHTGLASS_COLD") != "" {
		environment = append(environment, "GOCACHE="+t.TempDir())
	}
	_, again := released(t, copied(t, "somewhere/else"), environment...)
	if sums != again {
		t.Errorf("got different checksums, want equal ones:\n%s%s", sums, again)
	}

	check := exec.Command("sha256sum", "--check", "SHA256SUMS")
	check.Dir = filepath.Dir(first)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("got %v, want valid checksums:\n%s", err, out)
	}
	dir := unpack(t, first)
	t.Run("programs", func(t *testing.T) { programsIn(t, dir) })
	t.Run("bills of material", func(t *testing.T) { bills(t, dir) })
	t.Run("install", func(t *testing.T) {
		root := t.TempDir()
		cmd := exec.Command(filepath.Join(dir, "infra/systemd/install"))
		cmd.Env = append(os.Environ(), "DESTDIR="+root)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if _, err := os.Stat(filepath.Join(root, "usr/local/lib/systemd/system/sightglass-ingester.service")); err != nil {
			t.Error(err)
		}
	})
	for _, file := range []string{"LICENSE", "README.md", "CHANGELOG.md", "docs/clients.md", "infra/kubernetes/base/kustomization.yaml"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Error(err)
		}
	}
	licences, err := os.ReadFile(filepath.Join(dir, "THIRD-PARTY.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, notice := range strings.Split(string(licences), "\n==== ")[1:] {
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

func programsIn(t *testing.T, dir string) {
	for _, name := range []string{"edge", "ingester"} {
		path := filepath.Join(dir, "bin", name)
		out, err := exec.Command(path, "version").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), name+" "+version+" ") {
			t.Errorf("got %v, %s, want the version", err, out)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), repository(t)) || strings.Contains(string(text), filepath.Dir(dir)) {
			t.Errorf("%s: got a folder of this machine in the binary, want none", name)
		}
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
	if got := libraries("ingester"); !slices.Contains(got, "libzmq.so.5") {
		t.Errorf("ingester: got libraries %v, want Debian's libzmq.so.5", got)
	}
}

func bills(t *testing.T, dir string) {
	for name, want := range map[string]string{"edge": "github.com/gofiber/fiber/v2", "ingester": "github.com/pebbe/zmq4"} {
		var bill struct {
			BOMFormat  string
			Metadata   struct{ Component struct{ Version string } }
			Components []struct{ Name, Version, PURL string }
		}
		text, err := os.ReadFile(filepath.Join(dir, name+".cdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &bill); err != nil {
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

// TestRelease_RequiresVersionTag: a version without a tag, or with uncommitted changes, is rejected.
func TestRelease_RequiresVersionTag(t *testing.T) {
	for _, version := range []string{"unknown", "0d6008e", "v1.2", "v1.2.3-dirty", "v1.2.3 x"} {
		cmd := exec.Command("infra/release/build", version, t.TempDir())
		cmd.Dir = repository(t)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "git tag v0.1.0") {
			t.Errorf("%s: got %v, %s, want an error that names git tag", version, err, out)
		}
	}
}
