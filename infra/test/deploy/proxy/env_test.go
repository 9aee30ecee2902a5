//go:build deploy

// Package proxy runs edges behind real balancers with the shipped configurations.
package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"sightglass/infra/fanout"
	"sightglass/infra/test/clientsim"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/infra/test/internal/wstest"
)

// An edge is the real program, which may be stopped and restarted at the same address.
type edge struct {
	t        *testing.T
	program  string
	addr     string
	internal string
	args     []string
	process  *programs.Process // nil while it does not run
}

// newEdge starts an edge as docs/proxies.md describes for a balancer on the same machine.
func newEdge(t *testing.T, program, redisURL string, args ...string) *edge {
	t.Helper()
	e := &edge{t: t, program: program, addr: programs.FreeAddr(t), internal: programs.FreeAddr(t)}
	e.args = append([]string{"run", "--listen", e.addr, "--internal-listen", e.internal, "--redis", redisURL,
		"--trusted-proxies", "127.0.0.1", "--limit-scope", "cluster"}, args...)
	e.start()
	return e
}

func (e *edge) start() {
	e.t.Helper()
	e.process = programs.Launch(e.t, e.program, e.args...)
	programs.Until(e.t, "the edge to be ready", func() bool { return programs.Ready(e.addr) })
}

func (e *edge) stop() {
	e.t.Helper()
	e.process.Stop(e.t)
	e.process = nil
}

// kill ends the edge as a crash would.
func (e *edge) kill() {
	e.t.Helper()
	e.process.Signal(e.t, syscall.SIGKILL)
	e.process.Wait()
	e.process = nil
}

// metric returns the sum of the edge's series that begin with a name and labels.
func (e *edge) metric(series string) int {
	e.t.Helper()
	return metric(e.t, e.internal, series)
}

func (e *edge) clients() int { return e.metric("sightglass_clients{") }

func metric(t *testing.T, addr, series string) (sum int) {
	t.Helper()
	for line := range strings.Lines(fetch(t, addr, "/metrics", nil).body) {
		if !strings.HasPrefix(line, series) {
			continue
		}
		n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:len(line)-1], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += int(n)
	}
	return sum
}

// An environment is a Redis with snapshots of an ingester's size and rate, two edges, and a balancer before them.
type environment struct {
	t       *testing.T
	redis   *redistest.Server
	client  *redis.Client
	edges   []*edge
	kind    kind
	lb      *balancer
	silence func() // stops the snapshots
}

// build makes an environment with each kind of balancer, and calls f with it.
func build(t *testing.T, render func(config string) string, edgeArgs []string, f func(t *testing.T, env *environment)) {
	program := programs.Build(t, "edge", "edge")
	each(t, func(t *testing.T, k kind) {
		t.Parallel() // the tests mostly wait
		f(t, newEnvironment(t, program, k, render, edgeArgs))
	})
}

// each runs f with each kind of balancer.
func each(t *testing.T, f func(t *testing.T, k kind)) {
	for name, k := range map[string]kind{"haproxy": haproxy, "nginx": nginx} {
		t.Run(name, func(t *testing.T) { f(t, k) })
	}
}

func newEnvironment(t *testing.T, program string, kind kind, render func(config string) string, edgeArgs []string) *environment {
	t.Helper()
	env := &environment{t: t, redis: redistest.Start(t), kind: kind}
	env.client = env.redis.Client()
	env.silence = feed(t, env.client)
	redistest.StoreEvidence(t, env.client, 97_000)
	for range 2 {
		env.edges = append(env.edges, newEdge(t, program, env.redis.URL(), edgeArgs...))
	}
	env.lb = kind.start(t, render, env.edges[0].addr, env.edges[1].addr)
	return env
}

func asShipped(config string) string { return config }

// feed publishes snapshots until the test ends or stop is called.
func feed(t *testing.T, client *redis.Client) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	feeder := fanout.NewFeeder(fanout.NewSource(8, time.Now()), &fanout.RedisSink{Client: client}, nil, 2)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := feeder.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// connect connects clients through the balancer, and waits until all have a snapshot.
func (env *environment) connect(n int) *clientsim.Clients {
	env.t.Helper()
	c := clientsim.Start(clientsim.Options{URL: wstest.URL(env.lb.addr), Clients: n})
	env.t.Cleanup(c.Stop)
	env.until(c, fmt.Sprintf("all %d clients to be connected", n), func(s clientsim.Summary) bool { return s.Connected == n })
	return c
}

// until waits for a condition of the clients, and logs their measurements on failure.
func (env *environment) until(c *clientsim.Clients, what string, met func(clientsim.Summary) bool) {
	env.t.Helper()
	defer func() {
		if env.t.Failed() {
			env.t.Log(c.Summary())
		}
	}()
	programs.Until(env.t, what, func() bool { return met(c.Summary()) })
}

// source is the n-th address of single clients; clientsim uses others.
func source(n int) net.IP { return net.IPv4(127, 0, 99, byte(n+1)) }

// join opens a WebSocket until the test ends, and reads once. It returns the close code, or 0.
func join(t *testing.T, url string, from net.IP, header http.Header) websocket.StatusCode {
	t.Helper()
	_, code := wstest.Join(t, url, from, header)
	return code
}
