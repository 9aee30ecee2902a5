// Package browser tests the dashboard in Chromium, driven by the scripts in this folder, with a real edge, Redis and
// ingester.
package browser

import (
	"testing"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
	"sightglass/shared/contract"
)

// An environment is everything from the node's socket to an edge, as processes that a script can stop and start.
type environment struct {
	t                 *testing.T
	redis             *redistest.Server
	node              *programs.Process
	ingester, edge    *programs.Process
	ingesterProgram   string
	edgeProgram       string
	zmq, addr, notice string
	site              string  // another site whose pages may connect
	outputs           []int64 // satoshi: all outputs of the block's transactions
}

// basePath is the edge's second path for every route.
const basePath = "/price"

// rate is in transactions per second: within seconds it gives a price and the maximum of points, spread over time.
const rate = "300"

// start replays the block to an ingester until the test ends, and waits until an edge has its price.
func start(t *testing.T) *environment {
	t.Helper()
	env := &environment{
		t: t, redis: redistest.Start(t),
		ingesterProgram: programs.Build(t, "ingester", "ingester"),
		edgeProgram:     programs.Build(t, "edge", "edge"),
		zmq:             "tcp://" + programs.FreeAddr(t),
		addr:            programs.FreeAddr(t),
		site:            programs.FreeAddr(t),
		notice:          "Transactions of 2 May 2019, replayed.",
	}
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tx := range file.Transactions {
		for _, out := range tx.TxOut {
			env.outputs = append(env.outputs, out.Value)
		}
	}
	programs.AwaitMinute(t.Context())
	env.node = programs.Launch(t, env.ingesterProgram, "replay", "--zmq", env.zmq, "--rate", rate, "--loop",
		testblock.Path(t, testblock.Block574200))
	env.startIngester()
	env.startEdge()
	programs.Until(t, "a settled price", func() bool { return settled(env.addr) })
	return env
}

// settled reports whether an edge has a price that no longer jumps, as it does at first, and the maximum of points.
func settled(addr string) bool {
	body, err := programs.Get("http://" + addr + "/api/v1/snapshot")
	if err != nil {
		return false
	}
	s, err := contract.DecodeSnapshot(body)
	return err == nil && s.Confidence > 0.9 && len(s.Transactions) == contract.MaxTransactions
}

func (env *environment) startIngester() {
	env.ingester = programs.Launch(env.t, env.ingesterProgram, "run", "--zmq", env.zmq, "--redis", env.redis.URL())
}

func (env *environment) startEdge() {
	env.edge = launchEdge(env.t, env.edgeProgram, env.addr, env.redis.URL(),
		"--notice", env.notice, "--base-path", basePath, "--allowed-origins", "http://"+env.site)
}

func launchEdge(t *testing.T, program, addr, redisURL string, args ...string) *programs.Process {
	t.Helper()
	e := programs.Launch(t, program, append([]string{"run", "--listen", addr, "--redis", redisURL}, args...)...)
	programs.Until(t, "the edge to be alive", func() bool { return programs.Alive(addr) })
	return e
}

// startEmpty starts an edge with an empty Redis, and returns its address.
func (env *environment) startEmpty() string {
	addr := programs.FreeAddr(env.t)
	launchEdge(env.t, env.edgeProgram, addr, redistest.Start(env.t).URL())
	return addr
}
