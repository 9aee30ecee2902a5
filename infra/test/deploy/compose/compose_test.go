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
	"sightglass/shared/history"
)

// A deployment is a running docker-compose.yml.
type deployment struct {
	*engine
	env  string // a file for --env-file
	name string // of the compose project
	addr string // of HAProxy, on this machine
}

// TestCompose_Operations runs docker-compose.yml with images built here, and scales, restarts and upgrades it as an
// operator does.
func TestCompose_Operations(test *testing.T) {
	t := &recorder{T: test}
	e := newEngine(test)
	t.Log("profile watch and the node are only parsed, not run: their images are not built here")
	ensureBases(test, e)
	d := &deployment{engine: e, env: noSettings(test), name: "sightglass-test-" + strconv.Itoa(os.Getpid()), addr: programs.FreeAddr(t)}
	// Another subnet than that of an operator's own deployment on the same engine.
	settings := "SIGHTGLASS_PUBLISH=" + d.addr + "\nSIGHTGLASS_VERSION=test\nSIGHTGLASS_SUBNET=10.213.85.0/24\n"
	if err := os.WriteFile(d.env, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.end(t) })

	d.compose(t, "build", "--quiet")
	d.docker(t, "build", "--quiet", "--file", "infra/Dockerfile", "--build-arg", "VERSION=test", "--tag", "sightglass:test", ".")
	for image, most := range map[string]int{"sightglass-ingester:test": 120, "sightglass-edge:test": 40, "sightglass:test": 150} {
		d.checkImage(t, image, most)
	}
	d.compose(t, "up", "-d", "--no-build")
	d.awaitHealthy(t, map[string]int{"redis": 1, "replay": 1, "ingester": 1, "edge": 3, "haproxy": 1})
	clients := connect(t, "ws://"+d.addr+"/ws/mempool", 6)
	programs.Until(t, "a live price for every client", allSee(clients, time.Now()))
	d.awaitEdges(t, 3)
	d.checkWhole(t)
	d.checkUpgrade(t, clients)
	ended := goingAway(t, clients)

	d.compose(t, "up", "-d", "--no-build", "--scale", "edge=5")
	d.awaitHealthy(t, map[string]int{"edge": 5})
	programs.Until(t, "HAProxy to have five servers", func() bool { return d.servers(t) == 5 })
	clients = append(clients, connect(t, "ws://"+d.addr+"/ws/mempool", 3)...)
	d.awaitEdges(t, 5)
	if n := goingAway(t, clients); n != ended {
		t.Errorf("got %d connections ended by added edges, want none", n-ended)
	}

	for _, id := range d.containers(t) {
		d.checkContainer(t, id)
	}
	d.checkExposure(t)
	d.checkRedisRestart(t, clients)
	d.checkTwoIngesters(t, clients)
	d.checkAllEdgesStop(t, clients)
}

// compose runs docker-compose for this deployment.
func (d *deployment) compose(t testing.TB, args ...string) {
	t.Helper()
	d.must(t, "docker-compose", append([]string{"--env-file", d.env, "-p", d.name}, args...)...)
}

// A recorder repeats a test's failures at its end, below the containers' logs, where they are found.
type recorder struct {
	*testing.T
	failures []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.Helper()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
	r.T.Errorf(format, args...)
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Helper()
	r.Errorf(format, args...)
	r.FailNow()
}

func (r *recorder) Error(args ...any) { r.Helper(); r.Errorf("%s", fmt.Sprint(args...)) }
func (r *recorder) Fatal(args ...any) { r.Helper(); r.Fatalf("%s", fmt.Sprint(args...)) }

// end takes the deployment down and checks that nothing is left. After a failure it logs the end of the containers'
// logs, and then the failures.
func (d *deployment) end(t *recorder) {
	defer func() {
		if t.Failed() {
			t.Logf("the failures above the logs:\n%s", strings.Join(t.failures, "\n"))
		}
	}()
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
			t.Errorf("after down -v: docker %s: got %q, error %v, want nothing left", what[0], left, err)
		}
	}
	if _, err := d.run(t, "docker", "rmi", "-f", "sightglass-ingester:test", "sightglass-edge:test", "sightglass:test"); err != nil {
		t.Error(err)
	}
}

// containers returns the IDs of the running containers of one service or all.
func (d *deployment) containers(t testing.TB, service ...string) []string {
	t.Helper()
	args := []string{"ps", "-q", "--no-trunc", "--filter", "label=com.docker.compose.project=" + d.name}
	for _, s := range service {
		args = append(args, "--filter", "label=com.docker.compose.service="+s)
	}
	return strings.Fields(d.docker(t, args...))
}

// checkImage checks an image's configuration and size in millions of bytes.
func (d *deployment) checkImage(t testing.TB, image string, most int) {
	t.Helper()
	const million = 1_000_000
	size := float64(d.number(t, "image", "inspect", "-f", "{{.Size}}", image)) / million
	t.Logf("%s has %.1f MB, at most %d are allowed", image, size, most)
	if size > float64(most) {
		t.Errorf("%s: got %.1f MB, want at most %d", image, size, most)
	}
	config := d.docker(t, "image", "inspect", "-f", `{{.Config.User}} {{.Config.StopSignal}} {{index .Config.Labels "org.opencontainers.image.version"}} {{.Config.Healthcheck.Test}}`, image)
	if want := "65532:65532 SIGTERM test [CMD /"; !strings.HasPrefix(config, want) {
		t.Errorf("%s: got %q, want %q...", image, config, want)
	}
	if says := d.docker(t, "run", "--rm", image, "version"); !strings.Contains(says, " test ") {
		t.Errorf("%s: got version %q, want that of the build", image, says)
	}
}

// awaitHealthy waits until each service has the wanted number of containers, and all are healthy.
func (d *deployment) awaitHealthy(t testing.TB, want map[string]int) {
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

// clientsOn returns an edge's clients, by the one program in its image.
func (d *deployment) clientsOn(t testing.TB, id string) int {
	t.Helper()
	says := d.docker(t, "exec", id, "/edge", "health", "--url", "http://127.0.0.1:8080/health")
	found := connected.FindStringSubmatch(says)
	if found == nil {
		t.Fatalf("got %q from edge health, want clients_connected", says)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// awaitEdges waits until the wanted number of edges have clients.
func (d *deployment) awaitEdges(t testing.TB, want int) {
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

// servers returns the number of edges that HAProxy reports as up.
func (d *deployment) servers(t testing.TB) int {
	t.Helper()
	const ask = `exec 3<>/dev/tcp/127.0.0.1/8404; printf 'GET /;csv HTTP/1.0\r\n\r\n' >&3; cat <&3`
	figures := d.docker(t, "exec", d.containers(t, "haproxy")[0], "bash", "-c", ask)
	return len(regexp.MustCompile(`(?m)^edges,edge.*,UP,`).FindAllString(figures, -1))
}

// checkContainer checks the restrictions of a running process, as the kernel reports them.
func (d *deployment) checkContainer(t testing.TB, id string) {
	t.Helper()
	name := d.docker(t, "inspect", "-f", "{{.Name}}", id)
	pid := d.docker(t, "inspect", "-f", "{{.State.Pid}}", id)
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Skipf("the engine's processes are not on this machine: %v", err)
	}
	for _, want := range []string{`NoNewPrivs:\t1`, `CapEff:\t0+`, `CapPrm:\t0+`, `CapBnd:\t0+`, `Uid:\t[1-9]\d*\t[1-9].*`, `Seccomp:\t2`} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).Match(status) {
			t.Errorf("%s: got no %s in the process's status:\n%s", name, want, status)
		}
	}
	mounts, err := os.ReadFile("/proc/" + pid + "/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\S+ / \S+ ro[, ]`).Match(mounts) {
		t.Errorf("%s: got a writable root, want it read-only:\n%s", name, mounts)
	}
	if strings.Contains(name, "_edge_") || strings.Contains(name, "-edge-") {
		return // the image has no program that could write
	}
	if _, err := d.run(t, "docker", "exec", "-u", "0", id, "bash", "-c", "echo > /usr/written"); err == nil || !strings.Contains(err.Error(), "Read-only file system") {
		t.Errorf("%s: got %v from writing, want a read-only file system", name, err)
	}
}

// checkWhole runs the image of the whole program beside the replay, with a volume and without any right. Its container is
// killed, and the next one has the history.
func (d *deployment) checkWhole(t testing.TB) {
	t.Helper()
	volume := d.name + "-whole"
	t.Cleanup(func() {
		for _, args := range [][]string{{"rm", "--force", volume}, {"volume", "rm", volume}} {
			if _, err := d.run(t, "docker", args...); err != nil {
				t.Error(err)
			}
		}
	})
	began := 0
	for range 2 {
		d.docker(t, "run", "--detach", "--name", volume, "--network", d.name+"_node", "--read-only", "--cap-drop", "ALL",
			"--security-opt", "no-new-privileges:true", "--memory", "200m", "--volume", volume+":/data", "sightglass:test",
			"run", "--zmq", "tcp://replay:28332")
		programs.Until(t, "the whole program to be healthy", func() bool {
			return d.docker(t, "inspect", "-f", "{{.State.Health.Status}}", volume) == "healthy"
		})
		cli := func(args ...string) []string {
			return append([]string{"exec", volume, "redis-cli", "-s", "/data/redis.sock"}, args...)
		}
		programs.Until(t, "its history", func() bool { return d.number(t, cli("zcard", history.KeyRecent)...) >= 2 })
		var first int
		if _, err := fmt.Sscanf(d.docker(t, cli("zrange", history.KeyRecent, "0", "0")...), "[%d", &first); err != nil {
			t.Fatal(err)
		}
		if began != 0 && began != first {
			t.Errorf("got a history that begins at %d after a kill, want %d", first, began)
		}
		began = first
		d.docker(t, "kill", volume)
		d.docker(t, "rm", volume)
	}
}

// checkExposure checks that only the pages and the stream are reachable from outside.
func (d *deployment) checkExposure(t testing.TB) {
	t.Helper()
	for _, id := range d.containers(t) {
		ports := d.docker(t, "inspect", "-f", "{{.Name}} {{range $p, $to := .NetworkSettings.Ports}}{{range $to}}{{.HostIp}}:{{.HostPort}} {{end}}{{end}}", id)
		name, published, _ := strings.Cut(ports, " ")
		if haproxy := strings.Contains(name, "haproxy"); haproxy != (published == d.addr) || !haproxy && published != "" {
			t.Errorf("%s: got published ports %q, want only HAProxy's %s", name, published, d.addr)
		}
	}
	haproxy := d.containers(t, "haproxy")[0]
	d.docker(t, "exec", haproxy, "bash", "-c", "exec 3<>/dev/tcp/edge/8080") // so that the next command fails for its own reason
	redis := d.docker(t, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", d.containers(t, "redis")[0])
	if _, err := d.run(t, "docker", "exec", haproxy, "timeout", "2", "bash", "-c", "exec 3<>/dev/tcp/"+redis+"/6379"); err == nil {
		t.Error("got a connection from HAProxy to Redis, want none")
	}
	for path, want := range map[string]int{"/": 200, "/readyz": 200, "/metrics": 404, "/debug/pprof/": 404} {
		answer, err := http.Get("http://" + d.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s from outside: got %d, want %d", path, answer.StatusCode, want)
		}
	}
}

// checkRedisRestart checks that the stream continues after a restart of Redis, and that no client is disconnected.
func (d *deployment) checkRedisRestart(t testing.TB, clients []*follower) {
	t.Helper()
	before, ended := d.historyLen(t), goingAway(t, clients)
	d.compose(t, "restart", "redis")
	programs.Until(t, "a price after the restart of Redis", allSee(clients, time.Now()))
	if after := d.historyLen(t); before == 0 || after < before {
		t.Errorf("got history points %d before the restart and %d after, want none lost", before, after)
	}
	if n := goingAway(t, clients); n != ended {
		t.Errorf("got %d connections ended by the restart, want none", n-ended)
	}
}

func (d *deployment) historyLen(t testing.TB) int {
	t.Helper()
	return d.number(t, "exec", d.containers(t, "redis")[0], "redis-cli", "--user", "watcher", "--pass", "change-me-watcher", "--no-auth-warning",
		"zcard", history.KeyRecent)
}

// checkUpgrade follows docs/docker.md: new edges start beside the old ones, which then stop one after another. Their
// clients get 1001 and reconnect.
func (d *deployment) checkUpgrade(t testing.TB, clients []*follower) {
	t.Helper()
	old := d.containers(t, "edge")
	d.compose(t, "up", "-d", "--no-build", "--no-deps", "--no-recreate", "--scale", "edge="+strconv.Itoa(2*len(old)), "edge")
	d.awaitHealthy(t, map[string]int{"edge": 2 * len(old)})
	for _, id := range old {
		moved, ended := d.clientsOn(t, id), goingAway(t, clients)
		d.docker(t, "stop", id)
		d.checkEnded(t, id)
		d.docker(t, "rm", id)
		programs.Until(t, "a price for every client after one edge's end", allSee(clients, time.Now()))
		if n := goingAway(t, clients) - ended; n != moved || moved == 0 {
			t.Errorf("got %d connections ended with an edge that had %d, want the same", n, moved)
		}
	}
	upgraded := d.containers(t, "edge")
	d.compose(t, "up", "-d", "--no-build")
	if now := d.containers(t, "edge"); len(now) != len(old) || !slices.Equal(now, upgraded) {
		t.Errorf("got edges %v after the upgrade, want %v", now, upgraded)
	}
}

// checkTwoIngesters: the first ingester stops, and the second one is elected.
func (d *deployment) checkTwoIngesters(t testing.TB, clients []*follower) {
	t.Helper()
	first, ended := d.containers(t, "ingester")[0], goingAway(t, clients)
	d.compose(t, "up", "-d", "--no-build", "--no-deps", "--no-recreate", "--scale", "ingester=2", "ingester")
	d.awaitHealthy(t, map[string]int{"ingester": 2})
	d.docker(t, "stop", first)
	d.checkEnded(t, first)
	programs.Until(t, "a price from the second ingester", allSee(clients, time.Now()))
	if n := goingAway(t, clients); n != ended {
		t.Errorf("got %d connections ended with an ingester, want none", n-ended)
	}
}

// checkAllEdgesStop: all edges stop and start, which no operator should do, and clients reconnect.
func (d *deployment) checkAllEdgesStop(t testing.TB, clients []*follower) {
	t.Helper()
	edges, ended := d.containers(t, "edge"), goingAway(t, clients)
	d.compose(t, "stop", "edge")
	for _, id := range edges {
		d.checkEnded(t, id)
	}
	d.compose(t, "start", "edge")
	programs.Until(t, "a price for every client again", allSee(clients, time.Now()))
	if n := goingAway(t, clients) - ended; n < len(clients) { // more if a client moved from edge to edge
		t.Errorf("got %d connections ended with the edges, want those of %d clients", n, len(clients))
	}
}

// checkEnded checks that a container exited with 0.
func (d *deployment) checkEnded(t testing.TB, id string) {
	t.Helper()
	if end := d.docker(t, "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}", id); end != "exited 0 false" {
		t.Errorf("got %q (status, exit code, out of memory), want a clean exit", end)
	}
}
