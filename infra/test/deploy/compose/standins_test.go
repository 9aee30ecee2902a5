//go:build deploy

package compose

import (
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sightglass/infra/test/internal/machine"
	"sightglass/infra/test/internal/programs"
)

// bases are the third-party images that the test runs. Those of the profiles are not among them.
var bases = []string{"debian:bookworm-slim", "golang:1.26-bookworm", "redis:7-bookworm", "haproxy:2.6-bookworm"}

// ensureBases pulls missing images. Without a registry, an engine that the test started gets stand-ins under the same
// names, from Debian's packages and this machine's Go, so that the Dockerfiles and docker-compose.yml are tested
// unchanged. An operator's engine gets no stand-ins.
func ensureBases(t *testing.T, e *engine) {
	t.Helper()
	var missing []string
	for _, image := range bases {
		if _, err := e.run(t, "docker", "image", "inspect", image); err == nil {
			continue
		}
		if _, err := e.run(t, "docker", "pull", "--quiet", image); err != nil {
			t.Logf("%s cannot be pulled: %v", image, err)
			missing = append(missing, image)
		}
	}
	switch {
	case len(missing) == 0:
	case !e.ours:
		programs.SkipOrFail(t, "this engine cannot pull "+strings.Join(missing, ", ")+": pull them yourself, or stop Docker: the test then starts its own engine and makes stand-ins")
	default:
		standIn(t, e)
	}
}

// standIn makes all bases: one from a registry among them would have another source of packages.
func standIn(t *testing.T, e *engine) {
	t.Helper()
	t.Log("no registry can be reached: stand-ins of Debian's packages replace", bases)
	cache := machine.Cache(t)
	here := root(t) + "/infra/test/deploy/compose/standins/"
	e.must(t, here+"debian", cache)
	for _, module := range []string{"ingester", "edge", "infra"} {
		e.must(t, "env", "GOWORK=off", "go", "-C", module, "mod", "download") // as the images do; with go.work it edits go.work.sum
	}
	debs, modules := serve(t, e, cache)

	e.docker(t, "import", filepath.Join(cache, "debian.tar"), "sightglass-standin:debian")
	empty := t.TempDir()
	e.docker(t, "build", "-q", "-t", bases[0], "-f", here+"debian.Dockerfile", "--build-arg", "DEBS="+debs, empty)
	e.docker(t, "build", "-q", "-t", bases[1], "-f", here+"golang.Dockerfile", "--build-arg", "GOPROXY="+modules, e.must(t, "go", "env", "GOROOT"))
	e.docker(t, "build", "-q", "-t", bases[2], "-f", here+"redis.Dockerfile", empty)
	e.docker(t, "build", "-q", "-t", bases[3], "-f", here+"haproxy.Dockerfile", empty)
	if want := "go" + strings.TrimPrefix(strings.TrimSuffix(bases[1], "-bookworm"), "golang:"); !strings.HasPrefix(runtime.Version(), want) {
		t.Logf("the stand-in for %s has %s", bases[1], runtime.Version())
	}
}

// serve serves packages and modules from this machine to the builds, on their bridge.
func serve(t *testing.T, e *engine, cache string) (debs, modules string) {
	t.Helper()
	bridge, err := net.InterfaceByName("docker0")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := bridge.Addrs()
	if err != nil || len(addrs) == 0 {
		t.Fatalf("got addresses %v of docker0, error %v, want one", addrs, err)
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(addrs[0].(*net.IPNet).IP.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/debs/", http.StripPrefix("/debs/", http.FileServer(http.Dir(filepath.Join(cache, "debs")))))
	mux.Handle("/go/", http.StripPrefix("/go/", http.FileServer(http.Dir(e.must(t, "go", "env", "GOMODCACHE")+"/cache/download"))))
	server := &http.Server{Handler: mux}
	go server.Serve(ln) //nolint:errcheck // it returns ErrServerClosed
	t.Cleanup(func() { server.Close() })
	return "http://" + ln.Addr().String() + "/debs", "http://" + ln.Addr().String() + "/go"
}
