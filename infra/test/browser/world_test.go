// Package browser looks at the dashboard in a real browser: Chromium, driven by the scripts in this folder, before a
// real edge, Redis and ingester.
package browser

import (
	"testing"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
	"sightglass/shared/contract"
)

// A world is everything from the node's socket to an edge, each as a process that a script can have ended and started.
type world struct {
	t                 *testing.T
	redis             *redistest.Server
	node              *programs.Process
	ingester, edge    *programs.Process
	ingesterProgram   string
	edgeProgram       string
	zmq, addr, notice string
	site              string  // another site, whose pages may connect
	outputs           []int64 // satoshi: all that the block's transactions pay
}

// basePath is what everything is served under, too.
const basePath = "/price"

// rate is of transactions, a second: as many as make a price and a full cloud in some seconds, and no mere heap of points.
const rate = "300"

// start replays the block to an ingester, for as long as the test lasts, and waits until an edge has its price.
func start(t *testing.T) *world {
	t.Helper()
	w := &world{
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
			w.outputs = append(w.outputs, out.Value)
		}
	}
	w.node = programs.Launch(t, w.ingesterProgram, "replay", "--zmq", w.zmq, "--rate", rate, "--loop",
		testblock.Path(t, testblock.Block574200))
	w.startIngester()
	w.startEdge()
	programs.Until(t, "a price that stays where it is", func() bool { return settled(w.addr) })
	return w
}

// settled reports whether an edge has a price that no longer jumps about, as it does at first, and a full cloud.
func settled(addr string) bool {
	body, err := programs.Get("http://" + addr + "/api/v1/snapshot")
	if err != nil {
		return false
	}
	s, err := contract.DecodeSnapshot(body)
	return err == nil && s.Confidence > 0.9 && len(s.Transactions) == contract.MaxTransactions
}

func (w *world) startIngester() {
	w.ingester = programs.Launch(w.t, w.ingesterProgram, "run", "--zmq", w.zmq, "--redis", w.redis.URL())
}

func (w *world) startEdge() {
	w.edge = launchEdge(w.t, w.edgeProgram, w.addr, w.redis.URL(),
		"--notice", w.notice, "--base-path", basePath, "--allowed-origins", "http://"+w.site)
}

func launchEdge(t *testing.T, program, addr, redisURL string, args ...string) *programs.Process {
	t.Helper()
	e := programs.Launch(t, program, append([]string{"run", "--listen", addr, "--redis", redisURL}, args...)...)
	programs.Until(t, "the edge to be alive", func() bool { return programs.Alive(addr) })
	return e
}

// startEmpty starts an edge whose Redis has nothing, and gives its address.
func (w *world) startEmpty() string {
	addr := programs.FreeAddr(w.t)
	launchEdge(w.t, w.edgeProgram, addr, redistest.Start(w.t).URL())
	return addr
}
