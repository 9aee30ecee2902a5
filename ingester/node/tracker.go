package node

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"
)

// A tracker is the known state of a node: its mempool, its chain, and whether its ZMQ messages and RPC are complete.
// Every input is a call, with its time: handle, tick, and the function that a request's fetch returned. After each
// call, out has the actions for the owner. The log and the metrics are written directly.
type tracker struct {
	opts     Options
	withRPC  bool // RPC is configured
	log      *slog.Logger
	logLimit rate.Sometimes // limits log lines that may come often
	metrics  *Metrics
	out      output

	fetchFails bool      // RPC does not return the items on its lists
	lastTick   time.Time // of the last call of tick
	link       link
	counters   map[string]*counter
	pool       pool
	assembler  assembler
	sync       syncer
	backfill   backfill
	chain      chain
	advice     advice
}

// output is the actions for the tracker's owner: send the events, in their order; run the requests; replace the ZMQ
// socket. The owner empties it.
type output struct {
	events    []Event
	requests  []request
	reconnect bool
}

// state is the part of a tracker's state that is published.
type state struct{ connected, inSync, zmqOnly bool }

func newTracker(o Options, metrics *Metrics) *tracker {
	return &tracker{
		opts:     o,
		withRPC:  o.RPC != nil,
		log:      o.Log.With("zmq", o.ZMQ),
		logLimit: rate.Sometimes{Interval: time.Second},
		metrics:  metrics,
		counters: map[string]*counter{TopicRawTx: {}, TopicSequence: {}},
		link:     link{topics: make(map[string]struct{})},
		pool:     newPool(),
		sync:     syncer{logged: make(map[string]struct{})},
		chain:    newChain(),
	}
}

// start is the first call.
func (t *tracker) start(now time.Time) {
	t.link.lastMessage = now
	if !t.withRPC {
		t.log.Warn("no --rpc: the window starts empty, and lost messages are not recovered; set --rpc http://127.0.0.1:8332 --rpc-cookie PATH")
		return
	}
	t.sync.rpc.request(now)
	t.sync.rpc.deferringSince = now
	t.sync.due = now.Add(connectWait) // or when ZMQ is connected
}

// connectWait is how long the ZMQ socket may take to connect before RPC is used without it.
const connectWait = 2 * time.Second

// tick handles everything that depends on time alone. Call it several times a second.
func (t *tracker) tick(now time.Time) {
	t.checkTopics(now)
	t.checkClock(now)
	t.checkRPC(now)
	t.checkIdle(now)
	t.checkSequence(now)
	t.checkBlockTimeout(now)
	t.resolveOrphans(now)
	t.pool.trim()
	t.logProgress(now)
	t.metrics.mempool.Set(float64(t.pool.size))
}

func (t *tracker) emit(ev Event) { t.out.events = append(t.out.events, ev) }

func (t *tracker) request(r request) { t.out.requests = append(t.out.requests, r) }

func (t *tracker) state() state {
	return state{connected: t.link.up > 0, inSync: t.sync.inSync, zmqOnly: t.sync.rpc.zmqOnly || t.fetchFails}
}

// view copies the mempool.
func (t *tracker) view() View {
	v := View{Sequence: t.pool.next, InSync: t.sync.inSync}
	for id, m := range t.pool.entries {
		if m.pooled {
			v.IDs = append(v.IDs, id)
		}
	}
	return v
}
