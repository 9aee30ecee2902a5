// Package browser looks at the dashboard in a real browser: Chromium, driven by the scripts in this folder, before a
// real edge, Redis and ingester.
package browser

import (
	"testing"

	"sightglass/infra/internal/programs"
	"sightglass/infra/internal/redistest"
	"sightglass/ingester/testblock"
)

// A world is everything from the node's socket to an edge, each as a process that a script can have ended and started.
type world struct {
	t                 *testing.T
	redis             *redistest.Server
	ingester, edge    *programs.Process
	ingesterProgram   string
	edgeProgram       string
	zmq, addr, notice string
}

// rate is of transactions, a second: as many as make a price and a full cloud in some seconds, and no mere heap of points.
const rate = "150"

// start replays the block to an ingester, for as long as the test lasts, and waits until an edge has its price.
func start(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, redis: redistest.Start(t),
		ingesterProgram: programs.Build(t, "ingester", "ingester"),
		edgeProgram:     programs.Build(t, "edge", "edge"),
		zmq:             "tcp://" + programs.FreeAddr(t),
		addr:            programs.FreeAddr(t),
		notice:          "Transactions of 2 May 2019, replayed.",
	}
	programs.Launch(t, w.ingesterProgram, "replay", "--zmq", w.zmq, "--rate", rate, "--loop",
		testblock.Path(t, testblock.Block574200))
	w.startIngester()
	w.startEdge()
	programs.Until(t, "the edge to be ready", func() bool { return programs.Ready(w.addr) })
	return w
}

func (w *world) startIngester() {
	w.ingester = programs.Launch(w.t, w.ingesterProgram, "run", "--zmq", w.zmq, "--redis", w.redis.URL())
}

func (w *world) startEdge() {
	w.edge = launchEdge(w.t, w.edgeProgram, w.addr, w.redis.URL(), w.notice)
}

func launchEdge(t *testing.T, program, addr, redisURL, notice string) *programs.Process {
	t.Helper()
	e := programs.Launch(t, program, "run", "--listen", addr, "--redis", redisURL, "--notice", notice)
	programs.Until(t, "the edge to be alive", func() bool { return programs.Alive(addr) })
	return e
}

// startEmpty starts an edge whose Redis has nothing, and gives its address.
func (w *world) startEmpty() string {
	addr := programs.FreeAddr(w.t)
	launchEdge(w.t, w.edgeProgram, addr, redistest.Start(w.t).URL(), "")
	return addr
}
