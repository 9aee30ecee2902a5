//go:build deploy

package compose

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sightglass/infra/test/internal/programs"
	"sightglass/shared/contract"
)

// A deployment is docker-compose.yml, up.
type deployment struct {
	*engine
	env  string // a file for --env-file
	name string // of the compose project
	addr string // of HAProxy, on this machine
}

// TestCompose_Operations runs docker-compose.yml, on images that it builds, and does with it what an operator does.
func TestCompose_Operations(t *testing.T) {
	e := newEngine(t)
	t.Log("profiles watch and the node are not run here, only read: their images are not built by us")
	ensureBases(t, e)
	d := &deployment{engine: e, env: noSettings(t), name: "sightglass-test-" + strconv.Itoa(os.Getpid()), addr: programs.FreeAddr(t)}
	// Another subnet than that of an operator's own deployment on the same engine.
	settings := "SIGHTGLASS_PUBLISH=" + d.addr + "\nSIGHTGLASS_VERSION=test\nSIGHTGLASS_SUBNET=10.213.85.0/24\n"
	if err := os.WriteFile(d.env, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.end(t) })

	d.compose(t, "build", "--quiet")
	for image, most := range map[string]int{"sightglass-ingester:test": 120, "sightglass-edge:test": 40} {
		d.checkImage(t, image, most)
	}
	d.compose(t, "up", "-d", "--no-build")
	d.awaitHealthy(t, map[string]int{"redis": 1, "replay": 1, "ingester": 1, "edge": 3, "haproxy": 1})
	clients := connect(t, "ws://"+d.addr+"/ws/mempool", 6)
	programs.Until(t, "a live price for everybody", allSee(clients, time.Now()))
	d.awaitEdges(t, 3)
	d.checkUpgrade(t, clients)
	told := toldToGo(t, clients)

	d.compose(t, "up", "-d", "--no-build", "--scale", "edge=5")
	d.awaitHealthy(t, map[string]int{"edge": 5})
	programs.Until(t, "HAProxy to have five servers", func() bool { return d.servers(t) == 5 })
	clients = append(clients, connect(t, "ws://"+d.addr+"/ws/mempool", 3)...)
	d.awaitEdges(t, 5)
	if n := toldToGo(t, clients); n != told {
		t.Errorf("%d connections ended because edges were added", n-told)
	}

	for _, id := range d.containers(t) {
		d.checkContainer(t, id)
	}
	d.checkWays(t)
	d.checkRedisRestart(t, clients)
	d.checkTwoIngesters(t, clients)
	d.checkAllEdgesStop(t, clients)
}

// compose runs docker-compose for this deployment.
func (d *deployment) compose(t *testing.T, args ...string) {
	t.Helper()
	d.must(t, "docker-compose", append([]string{"--env-file", d.env, "-p", d.name}, args...)...)
}

// end takes everything down and sees that nothing is left. What failed is told with what the containers said last.
func (d *deployment) end(t *testing.T) {
	if t.Failed() {
		out, _ := d.run(t, "docker-compose", "--env-file", d.env, "-p", d.name, "ps")
		logs, _ := d.run(t, "docker-compose", "--env-file", d.env, "-p", d.name, "logs", "--no-color", "--tail", "30")
		t.Log(out + logs)
	}
	if _, err := d.run(t, "docker-compose", "--env-file", d.env, "-p", d.name, "down", "-v", "--timeout", "30"); err != nil {
		t.Error(err)
	}
	filter := "label=com.docker.compose.project=" + d.name
	for _, what := range [][]string{{"ps", "-aq"}, {"volume", "ls", "-q"}, {"network", "ls", "-q"}} {
		if left, err := d.run(t, "docker", append(what, "--filter", filter)...); err != nil || left != "" {
			t.Errorf("after down -v, docker %s gives %q, error %v", what[0], left, err)
		}
	}
	if _, err := d.run(t, "docker", "rmi", "-f", "sightglass-ingester:test", "sightglass-edge:test"); err != nil {
		t.Error(err)
	}
}

// containers gives the ids of those that run, of one service or all.
func (d *deployment) containers(t *testing.T, service ...string) []string {
	t.Helper()
	args := []string{"ps", "-q", "--no-trunc", "--filter", "label=com.docker.compose.project=" + d.name}
	for _, s := range service {
		args = append(args, "--filter", "label=com.docker.compose.service="+s)
	}
	return strings.Fields(d.docker(t, args...))
}

// checkImage checks what an image is, and how large, in millions of bytes.
func (d *deployment) checkImage(t *testing.T, image string, most int) {
	t.Helper()
	const million = 1_000_000
	size := float64(d.number(t, "image", "inspect", "-f", "{{.Size}}", image)) / million
	t.Logf("%s has %.1f MB, of %d at most", image, size, most)
	if size > float64(most) {
		t.Errorf("%s has %.1f MB, want %d at most", image, size, most)
	}
	config := d.docker(t, "image", "inspect", "-f", `{{.Config.User}} {{.Config.StopSignal}} {{index .Config.Labels "org.opencontainers.image.version"}} {{.Config.Healthcheck.Test}}`, image)
	if want := "65532:65532 SIGTERM test [CMD /"; !strings.HasPrefix(config, want) {
		t.Errorf("%s: got %q, want %q...", image, config, want)
	}
	if says := d.docker(t, "run", "--rm", image, "version"); !strings.Contains(says, " test ") {
		t.Errorf("%s: version says %q, want the version that it was built with", image, says)
	}
}

// awaitHealthy waits until each service has so many containers, and all are healthy.
func (d *deployment) awaitHealthy(t *testing.T, want map[string]int) {
	t.Helper()
	for service, n := range want {
		programs.Until(t, fmt.Sprintf("%d healthy of %s", n, service), func() bool {
			ids := d.containers(t, service)
			return len(ids) == n && !slices.ContainsFunc(ids, func(id string) bool {
				return d.docker(t, "inspect", "-f", "{{.State.Health.Status}}", id) != "healthy"
			})
		})
	}
}

var connected = regexp.MustCompile(`"clients_connected":(\d+)`)

// clientsOn asks an edge by the one program in its image.
func (d *deployment) clientsOn(t *testing.T, id string) int {
	t.Helper()
	says := d.docker(t, "exec", id, "/edge", "health", "--url", "http://127.0.0.1:8080/health")
	found := connected.FindStringSubmatch(says)
	if found == nil {
		t.Fatalf("edge health says %q, want it to have clients_connected", says)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// awaitEdges waits until so many edges have clients.
func (d *deployment) awaitEdges(t *testing.T, want int) {
	t.Helper()
	programs.Until(t, fmt.Sprintf("clients on %d edges", want), func() bool {
		serving := 0
		for _, id := range d.containers(t, "edge") {
			if d.clientsOn(t, id) > 0 {
				serving++
			}
		}
		return serving == want
	})
}

// servers is how many edges HAProxy has, by its own account.
func (d *deployment) servers(t *testing.T) int {
	t.Helper()
	const ask = `exec 3<>/dev/tcp/127.0.0.1/8404; printf 'GET /;csv HTTP/1.0\r\n\r\n' >&3; cat <&3`
	figures := d.docker(t, "exec", d.containers(t, "haproxy")[0], "bash", "-c", ask)
	return len(regexp.MustCompile(`(?m)^edges,edge.*,UP,`).FindAllString(figures, -1))
}

// checkContainer sees that a running process can do no more than it must: by what the kernel says of it.
func (d *deployment) checkContainer(t *testing.T, id string) {
	t.Helper()
	name := d.docker(t, "inspect", "-f", "{{.Name}}", id)
	pid := d.docker(t, "inspect", "-f", "{{.State.Pid}}", id)
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Skipf("the engine's processes are not on this machine: %v", err)
	}
	for _, want := range []string{`NoNewPrivs:\t1`, `CapEff:\t0+`, `CapPrm:\t0+`, `CapBnd:\t0+`, `Uid:\t[1-9]\d*\t[1-9].*`, `Seccomp:\t2`} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).Match(status) {
			t.Errorf("%s: its process has no %s in its status:\n%s", name, want, status)
		}
	}
	mounts, err := os.ReadFile("/proc/" + pid + "/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\S+ / \S+ ro[, ]`).Match(mounts) {
		t.Errorf("%s: its root can be written:\n%s", name, mounts)
	}
	if strings.Contains(name, "_edge_") || strings.Contains(name, "-edge-") {
		return // nothing in it could write
	}
	if _, err := d.run(t, "docker", "exec", "-u", "0", id, "bash", "-c", "echo > /usr/written"); err == nil || !strings.Contains(err.Error(), "Read-only file system") {
		t.Errorf("%s: writing ends with %v, want a file system that is read-only", name, err)
	}
}

// checkWays sees that there is no way from outside but to the pages and the stream.
func (d *deployment) checkWays(t *testing.T) {
	t.Helper()
	for _, id := range d.containers(t) {
		ports := d.docker(t, "inspect", "-f", "{{.Name}} {{range $p, $to := .NetworkSettings.Ports}}{{range $to}}{{.HostIp}}:{{.HostPort}} {{end}}{{end}}", id)
		name, published, _ := strings.Cut(ports, " ")
		if haproxy := strings.Contains(name, "haproxy"); haproxy != (published == d.addr) || !haproxy && published != "" {
			t.Errorf("%s publishes %q; only HAProxy is to publish, and only %s", name, published, d.addr)
		}
	}
	haproxy := d.containers(t, "haproxy")[0]
	d.docker(t, "exec", haproxy, "bash", "-c", "exec 3<>/dev/tcp/edge/8080") // so that what follows fails for its own reasons
	redis := d.docker(t, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", d.containers(t, "redis")[0])
	if _, err := d.run(t, "docker", "exec", haproxy, "timeout", "2", "bash", "-c", "exec 3<>/dev/tcp/"+redis+"/6379"); err == nil {
		t.Error("HAProxy, which faces the outside, reaches Redis")
	}
	for path, want := range map[string]int{"/": 200, "/readyz": 200, "/metrics": 404, "/debug/pprof/": 404} {
		answer, err := http.Get("http://" + d.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s from outside: %d, want %d", path, answer.StatusCode, want)
		}
	}
}

// checkRedisRestart sees that everything goes on with Redis, and that nobody was sent away meanwhile.
func (d *deployment) checkRedisRestart(t *testing.T, clients []*follower) {
	t.Helper()
	before, told := d.historyLen(t), toldToGo(t, clients)
	d.compose(t, "restart", "redis")
	programs.Until(t, "a price after Redis was away", allSee(clients, time.Now()))
	if after := d.historyLen(t); before == 0 || after < before {
		t.Errorf("the history had %d points before Redis restarted and %d after", before, after)
	}
	if n := toldToGo(t, clients); n != told {
		t.Errorf("%d connections ended with Redis", n-told)
	}
}

func (d *deployment) historyLen(t *testing.T) int {
	t.Helper()
	return d.number(t, "exec", d.containers(t, "redis")[0], "redis-cli", "--user", "watcher", "--pass", "change-me-watcher", "--no-auth-warning",
		"zcard", contract.KeyHistory)
}

// checkUpgrade does what docs/docker.md says: new edges beside the old ones, which then stop one after another. Their
// clients are told, and go on elsewhere.
func (d *deployment) checkUpgrade(t *testing.T, clients []*follower) {
	t.Helper()
	old := d.containers(t, "edge")
	d.compose(t, "up", "-d", "--no-build", "--no-deps", "--no-recreate", "--scale", "edge="+strconv.Itoa(2*len(old)), "edge")
	d.awaitHealthy(t, map[string]int{"edge": 2 * len(old)})
	for _, id := range old {
		moved, before := d.clientsOn(t, id), toldToGo(t, clients)
		d.docker(t, "stop", id)
		d.checkEnded(t, id)
		d.docker(t, "rm", id)
		programs.Until(t, "a price for everybody, one edge later", allSee(clients, time.Now()))
		if n := toldToGo(t, clients) - before; n != moved || moved == 0 {
			t.Errorf("%d connections ended with an edge that had %d", n, moved)
		}
	}
	upgraded := d.containers(t, "edge")
	d.compose(t, "up", "-d", "--no-build")
	if now := d.containers(t, "edge"); len(now) != len(old) || !slices.Equal(now, upgraded) {
		t.Errorf("after the upgrade the edges are %v, want %v", now, upgraded)
	}
}

// checkTwoIngesters: the one that was there first stops, and prices go on.
func (d *deployment) checkTwoIngesters(t *testing.T, clients []*follower) {
	t.Helper()
	first, told := d.containers(t, "ingester")[0], toldToGo(t, clients)
	d.compose(t, "up", "-d", "--no-build", "--no-deps", "--no-recreate", "--scale", "ingester=2", "ingester")
	d.awaitHealthy(t, map[string]int{"ingester": 2})
	d.docker(t, "stop", first)
	d.checkEnded(t, first)
	programs.Until(t, "a price from the second ingester", allSee(clients, time.Now()))
	if n := toldToGo(t, clients); n != told {
		t.Errorf("%d connections ended with an ingester", n-told)
	}
}

// checkAllEdgesStop: an upgrade that nobody should do like this, and that clients survive.
func (d *deployment) checkAllEdgesStop(t *testing.T, clients []*follower) {
	t.Helper()
	edges, told := d.containers(t, "edge"), toldToGo(t, clients)
	d.compose(t, "stop", "edge")
	for _, id := range edges {
		d.checkEnded(t, id)
	}
	d.compose(t, "start", "edge")
	programs.Until(t, "a price for everybody again", allSee(clients, time.Now()))
	if n := toldToGo(t, clients) - told; n < len(clients) { // more if one went from edge to edge
		t.Errorf("%d connections ended with the last edges, want those of %d clients", n, len(clients))
	}
}

// checkEnded sees that a container ended by itself, and well.
func (d *deployment) checkEnded(t *testing.T, id string) {
	t.Helper()
	if end := d.docker(t, "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}", id); end != "exited 0 false" {
		t.Errorf("a container ended with %q (status, exit code, out of memory), want a clean end", end)
	}
}
