//go:build deploy

// Package chaos injects random faults into a whole fleet with 500 clients.
package chaos

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sightglass/infra/test/clientsim"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester/testblock"
	"sightglass/shared/contract"
)

// A part is one process of the fleet, which may be killed and restarted at the same address.
type part struct {
	t       *testing.T
	name    string
	program string
	args    []string
	metrics string // address; empty: none

	process *programs.Process
	before  []*programs.Process // killed ones
}

func (p *part) start() {
	p.t.Helper()
	p.process = programs.Launch(p.t, p.program, p.args...)
}

// kill ends the process as a crash would. The process must be running.
func (p *part) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.process.Wait()
	p.before = append(p.before, p.process)
}

func (p *part) signal(s syscall.Signal) {
	p.t.Helper()
	if !p.process.Running() {
		p.t.Fatalf("%s: got an early exit, want it running:\n%s", p.name, p.process.Output())
	}
	p.process.Signal(p.t, s)
}

// gauge returns a metric without labels, or -1 on an error.
func (p *part) gauge(name string) float64 {
	value, ok := programs.Metric(p.metrics, name)
	if !ok {
		return -1
	}
	return value
}

func (p *part) goroutines() int { return int(p.gauge("go_goroutines")) }

// memory is the process's RSS in bytes.
func (p *part) memory() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.process.PID()))
	if err != nil {
		p.t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		p.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// An environment is a whole fleet: a node, two ingesters, a Redis, three edges and HAProxy before them.
type environment struct {
	t         *testing.T
	redis     *redistest.Server
	node      *part
	ingesters []*part
	edges     []*part
	balancer  *part
	addr      string // of the balancer
}

const (
	ingesters = 2
	edges     = 3
)

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	t.Setenv("GOGC", "25") // so that little of the memory is garbage
	env := &environment{t: t, redis: redistest.Start(t), addr: programs.FreeAddr(t)}
	ingester, edge := programs.Build(t, "ingester", "ingester"), programs.Build(t, "edge", "edge")
	zmq := "tcp://" + programs.FreeAddr(t)
	env.node = &part{t: t, name: "node", program: ingester, args: []string{
		"replay", "--zmq", zmq, "--rate", "300", "--loop", testblock.Path(t, testblock.Block574200),
	}}
	for i := range ingesters {
		p := &part{t: t, name: fmt.Sprint("ingester ", i+1), program: ingester, metrics: programs.FreeAddr(t)}
		p.args = []string{"run", "--zmq", zmq, "--redis", env.redis.URL(), "--internal-listen", p.metrics}
		env.ingesters = append(env.ingesters, p)
	}
	var servers []string
	for i := range edges {
		addr := programs.FreeAddr(t)
		p := &part{t: t, name: fmt.Sprint("edge ", i+1), program: edge, metrics: programs.FreeAddr(t)}
		p.args = []string{
			"run", "--listen", addr, "--internal-listen", p.metrics, "--redis", env.redis.URL(),
			"--trusted-proxies", "127.0.0.1", "--limit-scope", "cluster",
		}
		env.edges = append(env.edges, p)
		servers = append(servers, fmt.Sprintf("    server edge%d %s", i+1, addr))
	}
	env.balancer = env.haproxy(servers)
	for _, p := range env.all() {
		p.start()
	}
	programs.Until(t, "the fleet to be ready", func() bool { return programs.Ready(env.addr) && env.leader() != nil })
	for _, p := range env.ingesters {
		programs.Until(t, p.name+" to have a price", func() bool { return p.gauge("sightglass_price_usd") > 0 })
	}
	return env
}

// haproxy is the balancer with the shipped configuration, before these servers.
func (env *environment) haproxy(servers []string) *part {
	env.t.Helper()
	shipped, err := os.ReadFile(filepath.Join("..", "..", "haproxy", "haproxy.cfg"))
	if err != nil {
		env.t.Fatal(err)
	}
	const listed = "    server edge1 127.0.0.1:8081\n    server edge2 127.0.0.1:8082\n"
	config := bytes.Replace(shipped, []byte(listed), []byte(strings.Join(servers, "\n")+"\n"), 1)
	if bytes.Equal(config, shipped) {
		env.t.Fatal("haproxy.cfg: got other server lines, want those that the test replaces")
	}
	path := filepath.Join(env.t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		env.t.Fatal(err)
	}
	env.t.Setenv("HTTP_BIND", env.addr)
	env.t.Setenv("OPS_BIND", programs.FreeAddr(env.t))
	return &part{t: env.t, name: "haproxy", program: "haproxy", args: []string{"-db", "-f", path}}
}

// all returns all parts except Redis.
func (env *environment) all() []*part {
	return append(append([]*part{env.node, env.balancer}, env.ingesters...), env.edges...)
}

// leader returns the ingester that leads by its metrics, or nil.
func (env *environment) leader() *part {
	for _, p := range env.ingesters {
		if p.gauge("sightglass_leader") == 1 {
			return p
		}
	}
	return nil
}

// memory returns the sum of the parts' RSS in bytes.
func (env *environment) memory(parts ...*part) (sum int) {
	for _, p := range parts {
		sum += p.memory()
	}
	return sum
}

// isCurrent reports whether every client is connected, and has the newest snapshot or a newer one.
func (env *environment) isCurrent(clients *clientsim.Clients, than *contract.Snapshot) bool {
	return clients.CaughtUp(than) == clients.Summary().Clients
}

// checkOutputs stops every part and searches the outputs for panics and data races.
func (env *environment) checkOutputs() {
	env.t.Helper()
	for _, p := range env.all() {
		if !p.process.Running() {
			env.t.Errorf("%s: got an early exit, want it running", p.name)
		} else if p != env.balancer { // HAProxy exits with 143 after SIGTERM
			p.process.Stop(env.t)
		}
		if p == env.balancer {
			continue
		}
		for _, process := range append(p.before, p.process) {
			for _, bad := range []string{"panic:", "fatal error:", "DATA RACE"} {
				if output := process.Output(); strings.Contains(output, bad) {
					env.t.Errorf("%s: got %q in the output:\n%s", p.name, bad, output)
				}
			}
		}
	}
}
