//go:build deploy

package chaos

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"sightglass/infra/test/clientsim"
	"sightglass/infra/test/internal/programs"
	"sightglass/shared/contract"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs each failed dial while Redis is down
	os.Exit(m.Run())
}

// A fault breaks a part of the fleet for a random time and repairs it.
type fault struct {
	name string
	do   func(env *environment, random *rand.Rand)
}

var faults = []fault{
	{"an edge is killed", func(env *environment, random *rand.Rand) {
		env.outage(random, env.edges[1+random.IntN(edges-1)]) // the first edge runs through all faults, to be measured
	}},
	{"redis is killed", func(env *environment, random *rand.Rand) {
		env.redis.Kill()
		wait(random, 300*time.Millisecond, 3*time.Second)
		env.redis.Start()
	}},
	{"the leading ingester is killed", func(env *environment, random *rand.Rand) {
		env.outage(random, env.awaitLeader())
	}},
	{"the leading ingester hangs", func(env *environment, random *rand.Rand) {
		leader := env.awaitLeader()
		leader.signal(syscall.SIGSTOP)
		wait(random, time.Second, 6*time.Second)
		leader.signal(syscall.SIGCONT)
	}},
	{"the leading ingester hangs while redis is killed", func(env *environment, random *rand.Rand) {
		leader := env.awaitLeader()
		leader.signal(syscall.SIGSTOP)
		env.redis.Kill()
		wait(random, 300*time.Millisecond, 2*time.Second)
		env.redis.Start()
		wait(random, 0, 5*time.Second) // the other one leads, or does not yet
		leader.signal(syscall.SIGCONT)
	}},
	{"the node starts again", func(env *environment, random *rand.Rand) {
		env.outage(random, env.node)
	}},
}

// outage kills a part and starts it again.
func (env *environment) outage(random *rand.Rand, p *part) {
	env.t.Helper()
	p.kill()
	wait(random, 300*time.Millisecond, 3*time.Second)
	p.start()
}

func (env *environment) awaitLeader() *part {
	env.t.Helper()
	programs.Until(env.t, "an ingester to lead", func() bool { return env.leader() != nil })
	if p := env.leader(); p != nil {
		return p
	}
	return env.awaitLeader()
}

// wait lets the fleet run for a random time: the length of a fault is part of the test. No condition is awaited.
func wait(random *rand.Rand, least, most time.Duration) {
	<-time.After(least + time.Duration(random.Int64N(int64(most-least))))
}

// TestFleet_RecoversFromRandomFaults injects random faults for DURATION (30s), with CLIENTS (500) clients and the
// random source SEED. It fails if the clients need longer than LIMIT (1m, as machines differ) to recover after the last
// fault.
func TestFleet_RecoversFromRandomFaults(t *testing.T) {
	duration, seed := setting(t, "DURATION", 30*time.Second, time.ParseDuration), setting(t, "SEED", uint64(time.Now().UnixNano()), parseUint)
	n, limit := setting(t, "CLIENTS", 500, strconv.Atoi), setting(t, "LIMIT", time.Minute, time.ParseDuration)
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("SEED=%d DURATION=%v CLIENTS=%d", seed, duration, n)

	env := newEnvironment(t)
	for _, p := range env.ingesters { // a resumed ingester uses more memory: compare resumed ones before and after
		p.kill()
		p.start()
		programs.Until(t, p.name+" to have resumed", func() bool { return p.gauge("sightglass_price_usd") > 0 })
	}
	alone := env.goroutines()
	clients := clientsim.Start(clientsim.Options{URL: "ws://" + env.addr + "/ws/mempool", Clients: n})
	defer clients.Stop()
	env.awaitCurrent(clients)
	env.settle(random)
	survivor := env.edges[0]
	ingestersBefore, edgesBefore, survivorBefore := env.memory(env.ingesters...), env.memory(env.edges...), env.memory(survivor)

	done, over := env.injectFaults(random, duration)
	env.awaitCurrent(clients)
	recovery := time.Since(over)

	s := clients.Summary()
	t.Logf("faults: %v", done)
	t.Logf("%s", s)
	t.Logf("longest silence of any client %v, %d reconnects; all clients current %v after the last fault",
		s.Silence.Round(time.Millisecond), s.Reconnects, recovery.Round(time.Millisecond))
	if s.Older > 0 || s.Disordered > 0 || s.GivenUp > 0 {
		t.Errorf("got %d older snapshots, %d out of order, %d clients that gave up; want none", s.Older, s.Disordered, s.GivenUp)
	}
	if recovery > limit {
		t.Errorf("got all clients current after %v, want at most %v", recovery, limit)
	}
	env.settle(random)
	ingestersAfter, edgesAfter, survivorAfter := env.memory(env.ingesters...), env.memory(env.edges...), env.memory(survivor)
	t.Logf("memory: ingesters %.1f -> %.1f MB, edges %.1f -> %.1f MB, the edge without faults %.1f -> %.1f MB",
		megabytes(ingestersBefore), megabytes(ingestersAfter), megabytes(edgesBefore), megabytes(edgesAfter), megabytes(survivorBefore), megabytes(survivorAfter))
	if grown(ingestersBefore, ingestersAfter) || grown(edgesBefore, edgesAfter) || grown(survivorBefore, survivorAfter) {
		t.Error("got memory growth of over 20 %, want less")
	}
	clients.Stop()
	programs.Until(t, "every goroutine of a client or a broken connection to end", func() bool {
		for name, now := range env.goroutines() {
			if now > alone[name]+spare {
				return false
			}
		}
		return true
	})
	t.Logf("goroutines: before the clients %v, after them %v", alone, env.goroutines())
	env.checkOutputs()
}

// injectFaults injects faults for a duration, each kind equally often. It returns the number of each kind, and the time
// of the last one's end.
func (env *environment) injectFaults(random *rand.Rand, duration time.Duration) (done map[string]int, over time.Time) {
	env.t.Helper()
	began := time.Now()
	done = make(map[string]int)
	for order := []int(nil); time.Since(began) < duration || len(done) < len(faults); {
		wait(random, 0, 4*time.Second)
		if len(order) == 0 {
			order = random.Perm(len(faults))
		}
		f := faults[order[0]]
		order = order[1:]
		env.t.Logf("%5.1f s: %s", time.Since(began).Seconds(), f.name)
		f.do(env, random)
		done[f.name]++
		over = time.Now()
	}
	return done, over
}

// spare is the number of goroutines of HTTP connections and of Redis's pool, which vary.
const spare = 6

func (env *environment) goroutines() map[string]int {
	all := make(map[string]int)
	for _, p := range append(append([]*part(nil), env.ingesters...), env.edges...) {
		all[p.name] = p.goroutines()
	}
	return all
}

// awaitCurrent waits until every client is connected and has a new snapshot.
func (env *environment) awaitCurrent(clients *clientsim.Clients) {
	env.t.Helper()
	var goal *contract.Snapshot
	programs.Until(env.t, "every client to be current", func() bool {
		if goal == nil {
			goal = env.redis.Snapshot()
		}
		return goal != nil && env.isCurrent(clients, goal)
	})
}

// settle lets 10 s pass without faults, so that a measurement is not of a moment.
func (env *environment) settle(random *rand.Rand) { wait(random, 10*time.Second, 11*time.Second) }

// grown reports whether memory rose by over 20 %.
func grown(before, after int) bool { return float64(after) > 1.2*float64(before) }

func megabytes(n int) float64 { return float64(n) / 1e6 }

// setting reads one of the test's settings from the environment.
func setting[T any](t *testing.T, name string, otherwise T, parse func(string) (T, error)) T {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	value, err := parse(text)
	if err != nil {
		t.Fatalf("%s=%s: %v", name, text, err)
	}
	return value
}

func parseUint(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }
