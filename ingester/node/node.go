// Package node turns what bitcoind publishes into one stream of events: transactions that the node sees, and
// transactions that leave its mempool without a block. It listens over ZMQ. With RPC it also loads what the node knew
// before the ingester started, and fetches messages that were lost.
//
// Two goroutines share the work: package zmqsub's owns the socket, the loop owns all other state. RPC requests run
// beside the loop, and their results are applied in the loop. So the state needs no lock, and a slow response delays no
// message.
package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/zmqsub"
)

// Kind is the type of an Event.
type Kind uint8

// The kinds of events.
const (
	Seen Kind = iota // a transaction entered the mempool or came in a block; an event for the same one may follow
	Gone             // a transaction left the mempool without a block: replaced, evicted, expired
)

// An Event is one change that the node reports of a transaction.
type Event struct {
	Kind     Kind
	ID       chainhash.Hash // txid
	Tx       *wire.MsgTx    // nil unless Kind is Seen
	At       time.Time      // when the node saw it first, as far as known; never in the future
	Received time.Time      // when its message was received; zero for a transaction that was fetched over RPC
}

// Options configure a Node.
type Options struct {
	ZMQ         []string         // endpoints; usually one
	RPC         *bitcoind.Client // nil: ZMQ alone
	Window      time.Duration    // transactions older than this are not needed
	IdleTimeout time.Duration    // without a message for this long, ask RPC whether the node is idle; 0: 1 m
	Log         *slog.Logger

	// ZMQOnlyAfter is how long RPC may fail before the Node continues with ZMQ alone, as without RPC; 0: 30 s.
	ZMQOnlyAfter time.Duration
}

// A Node follows one bitcoind. Run may be called once.
type Node struct {
	opts     Options
	rpc      *bitcoind.Client
	log      *slog.Logger
	logLimit rate.Sometimes // limits log lines that may come often
	metrics  *Metrics
	listener *zmqsub.Listener

	messages    chan zmqsub.Message
	completions chan func() // results of RPC requests, to be applied in the loop
	requests    sync.WaitGroup
	ctx         context.Context // of Run
	events      chan<- Event

	isConnected atomic.Bool // whether the ZMQ connection is up, for other goroutines
	isZMQOnly   atomic.Bool // sync.rpc.zmqOnly or fetchFails, for other goroutines
	fetchFails  bool        // RPC does not return what is on its lists
	lastTick    time.Time   // of the last call of tick
	link        link
	counters    map[string]*counter
	pool        pool
	assembler   assembler
	sync        syncer
	backfill    backfill
	chain       chain
	advice      advice
}

// messageQueue is how many messages may wait for the loop before the socket's queue is used, which is much longer.
const messageQueue = 4096

// defaultIdleTimeout suits a mainnet node, which publishes several transactions a second.
const defaultIdleTimeout = time.Minute

// New validates the options. Neither ZMQ nor RPC needs to be reachable yet.
func New(o Options, metrics *Metrics) (*Node, error) {
	if o.IdleTimeout == 0 {
		o.IdleTimeout = defaultIdleTimeout
	}
	if o.ZMQOnlyAfter == 0 {
		o.ZMQOnlyAfter = defaultZMQOnlyAfter
	}
	listener, err := zmqsub.New(o.ZMQ, []string{TopicRawTx, TopicSequence}, o.Log)
	if err != nil {
		return nil, err
	}
	for _, endpoint := range o.ZMQ {
		metrics.endpoints.WithLabelValues(endpoint)
	}
	return &Node{
		opts:        o,
		rpc:         o.RPC,
		log:         o.Log.With("zmq", o.ZMQ),
		logLimit:    rate.Sometimes{Interval: time.Second},
		metrics:     metrics,
		listener:    listener,
		messages:    make(chan zmqsub.Message, messageQueue),
		completions: make(chan func()),
		counters:    map[string]*counter{TopicRawTx: {}, TopicSequence: {}},
		link:        link{topics: make(map[string]struct{})},
		pool:        newPool(),
		sync:        syncer{logged: make(map[string]struct{})},
		chain:       newChain(),
	}, nil
}

// Run follows the node until ctx ends, and sends each event to out. Events of messages have priority over fetched ones.
// The node may come and go; the returned error is about the socket.
func (n *Node) Run(ctx context.Context, out chan<- Event) error {
	g, ctx := errgroup.WithContext(ctx)
	n.ctx, n.events = ctx, out
	g.Go(func() error { return n.listener.Run(ctx, n.messages) })
	g.Go(func() error { n.loop(); return nil })
	err := g.Wait()
	n.requests.Wait()
	return err
}

const (
	tickInterval = 100 * time.Millisecond
	// messageBatch is how many messages are handled before results of RPC requests are.
	messageBatch = 256
)

func (n *Node) loop() {
	n.start(time.Now())
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for n.ctx.Err() == nil {
		n.drainMessages()
		n.startRequests()
		var backlog chan struct{}
		if n.deliverBacklog() {
			backlog = always
		}
		select {
		case <-n.ctx.Done():
		case m := <-n.messages:
			n.handle(m)
		case done := <-n.completions:
			done()
		case now := <-ticker.C:
			n.tick(now)
		case <-backlog:
		}
	}
}

// always is closed: a select with it does not block.
var always = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// drainMessages handles the messages that are waiting, so that they precede fetched transactions.
func (n *Node) drainMessages() {
	for range messageBatch {
		select {
		case m := <-n.messages:
			n.handle(m)
		default:
			return
		}
	}
}

func (n *Node) start(now time.Time) {
	n.link.lastMessage = now
	if n.rpc == nil {
		n.log.Warn("no --rpc: the window starts empty, and lost messages are not recovered; set --rpc http://127.0.0.1:8332 --rpc-cookie PATH")
		return
	}
	n.sync.rpc.request(now)
	n.sync.rpc.deferringSince = now
	n.sync.due = now.Add(connectWait) // or when ZMQ is connected
}

// connectWait is how long the ZMQ socket may take to connect before RPC is used without it.
const connectWait = 2 * time.Second

func (n *Node) tick(now time.Time) {
	n.reportLinks()
	n.checkTopics(now)
	n.checkClock(now)
	n.checkRPC(now)
	n.checkIdle(now)
	n.checkSequence(now)
	n.checkBlockTimeout(now)
	n.resolveOrphans(now)
	n.pool.trim()
	n.logProgress(now)
	n.metrics.mempool.Set(float64(n.pool.size))
}

// async runs request beside the loop. The function that request returns is run in the loop.
func (n *Node) async(request func(context.Context) (done func())) {
	n.requests.Go(func() {
		done := request(n.ctx)
		select {
		case n.completions <- done:
		case <-n.ctx.Done():
		}
	})
}

func (n *Node) emit(ev Event) {
	select {
	case n.events <- ev:
	case <-n.ctx.Done():
	}
}

// ZMQOnly reports whether RPC is configured but has failed for Options.ZMQOnlyAfter, so that the Node works with ZMQ
// alone. It is safe for concurrent use.
func (n *Node) ZMQOnly() bool { return n.isZMQOnly.Load() }

func (n *Node) setZMQOnly(zmqOnly bool) {
	n.isZMQOnly.Store(zmqOnly)
	n.metrics.zmqOnly.Set(oneIf(zmqOnly))
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Connected reports whether a ZMQ connection is up. It is safe for concurrent use.
func (n *Node) Connected() bool { return n.isConnected.Load() }

func (n *Node) setConnected(up bool) {
	n.isConnected.Store(up)
	n.metrics.connected.Set(oneIf(up))
}

// A View is the node's mempool as the ingester knows it.
type View struct {
	IDs      []chainhash.Hash // the unconfirmed transactions
	Sequence uint64           // the number of the next change, as getrawmempool returns it; 0: unknown
	InSync   bool             // whether IDs equals the node's list: false during a resync, and always without RPC
}

// errEnded is returned by View after Run.
var errEnded = errors.New("the ingester does not listen to the node")

// View copies the mempool. It works only while Run does. It is safe for concurrent use.
func (n *Node) View(ctx context.Context) (View, error) {
	view := make(chan View, 1)
	done := func() {
		v := View{Sequence: n.pool.next, InSync: n.sync.inSync}
		for id, m := range n.pool.entries {
			if m.pooled {
				v.IDs = append(v.IDs, id)
			}
		}
		view <- v
	}
	select {
	case n.completions <- done:
		return <-view, nil
	case <-ctx.Done():
		return View{}, errors.Join(errEnded, ctx.Err())
	}
}
