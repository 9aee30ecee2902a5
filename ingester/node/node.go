// Package node shows bitcoind as one stream of events: transactions that it sees, and transactions that leave its
// mempool unconfirmed. It listens over ZMQ, and with RPC it also learns what was there before it came and heals what
// was lost on the way.
//
// One goroutine owns the socket (package zmqsub), one everything else: the loop. What RPC is asked runs beside the loop
// and its answer is carried out in it, so nothing here needs a lock, and a slow answer delays no message.
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

// Kind is what an Event tells.
type Kind uint8

// The kinds of events.
const (
	Seen Kind = iota // a transaction entered the mempool or came in a block; the same one may be seen again
	Gone             // a transaction left the mempool without a block: replaced, evicted, expired
)

// An Event is one thing that the node tells of a transaction.
type Event struct {
	Kind     Kind
	ID       chainhash.Hash // txid
	Tx       *wire.MsgTx    // nil unless Kind is Seen
	At       time.Time      // when the node saw it first, as far as that is known; never in the future
	Received time.Time      // when its message was received; zero for what was asked for
}

// Options say how to reach a node.
type Options struct {
	ZMQ         []string         // endpoints; usually one
	RPC         *bitcoind.Client // nil: ZMQ alone
	Window      time.Duration    // transactions older than this are of no use
	IdleTimeout time.Duration    // how long no message may come before the node is asked whether that is right; 0: a minute
	Log         *slog.Logger

	// WithoutRPC is how long RPC may give no usable answer before the node is listened to as without RPC; 0: 30 s.
	ZMQOnlyAfter time.Duration
}

// A Node is one bitcoind. Run it once.
type Node struct {
	opts     Options
	rpc      *bitcoind.Client
	log      *slog.Logger
	logLimit rate.Sometimes // keeps a flood of the same complaint out of the log
	metrics  *Metrics
	listener *zmqsub.Listener

	messages    chan zmqsub.Message
	completions chan func() // what is to be done in the loop with what RPC answered
	requests    sync.WaitGroup
	ctx         context.Context // Run's
	events      chan<- Event

	isConnected atomic.Bool // the link, for whoever asks from outside the loop
	isZMQOnly   atomic.Bool // reach.alone, likewise
	lastTick    time.Time   // when tick was last called
	link        link
	counters    map[string]*counter
	pool        pool
	assembler   assembler
	sync        syncer
	backfill    backfill
	chain       chain
	advice      advice
}

// pending is how many messages may wait for the loop before the socket does: libzmq queues many more.
const messageQueue = 4096

// defaultQuiet is for a mainnet node: it tells several transactions a second.
const defaultIdleTimeout = time.Minute

// New checks the options. Neither the socket nor RPC needs to be there yet.
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

// Run listens until ctx ends, and sends each event to out: what is heard first, what was asked for between. The node
// may come and go; the returned error is about the socket.
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
	// atOnce is how many messages are taken before answers get their turn.
	messageBatch = 256
)

func (n *Node) loop() {
	n.start(time.Now())
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for n.ctx.Err() == nil {
		n.drainMessages()
		n.startRequests()
		var feed chan struct{}
		if n.deliverBacklog() {
			feed = always
		}
		select {
		case <-n.ctx.Done():
		case m := <-n.messages:
			n.handle(m)
		case then := <-n.completions:
			then()
		case now := <-ticker.C:
			n.tick(now)
		case <-feed:
		}
	}
}

// always can be received from: a select with it does not wait.
var always = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// takeMessages takes those that are waiting, so that they come before what was asked for.
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

// begin is the state before anything is known.
func (n *Node) start(now time.Time) {
	n.link.lastMessage = now
	if n.rpc == nil {
		n.log.Warn("no --rpc: nothing is known of what was before now, and what is lost on the way stays lost; --rpc http://127.0.0.1:8332 --rpc-cookie PATH mends that")
		return
	}
	n.sync.rpc.request(now)
	n.sync.rpc.deferringSince = now
	n.sync.due = now.Add(connectWait) // or when the link is up
}

// patience is how long the socket may take to connect before RPC is asked without it.
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

// question runs a question to the node beside the loop; what it returns is carried out in the loop.
func (n *Node) async(q func(context.Context) (then func())) {
	n.requests.Go(func() {
		then := q(n.ctx)
		select {
		case n.completions <- then:
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

// ZMQAlone reports whether there is an RPC that has given no usable answer for Options.WithoutRPC, so that the node is
// listened to as without RPC. It may be called from anywhere.
func (n *Node) ZMQOnly() bool { return n.isZMQOnly.Load() }

func (n *Node) setZMQOnly(alone bool) {
	n.isZMQOnly.Store(alone)
	n.metrics.zmqOnly.Set(oneIf(alone))
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Connected reports whether the ZMQ connection is there. It may be called from anywhere.
func (n *Node) Connected() bool { return n.isConnected.Load() }

func (n *Node) setConnected(up bool) {
	n.isConnected.Store(up)
	n.metrics.connected.Set(oneIf(up))
}

// A View is the node's mempool as it is known here.
type View struct {
	IDs      []chainhash.Hash // the unconfirmed transactions
	Sequence uint64           // the number of the next change, as getrawmempool gives it; 0: not known
	InSync   bool             // false while a gap is being healed, and always without RPC
}

// errEnded is what View says after Run.
var errEnded = errors.New("the node is not being listened to")

// View copies the mempool. It works while Run does.
func (n *Node) View(ctx context.Context) (View, error) {
	got := make(chan View, 1)
	look := func() {
		v := View{Sequence: n.pool.next, InSync: n.sync.inSync}
		for id, m := range n.pool.entries {
			if m.pooled {
				v.IDs = append(v.IDs, id)
			}
		}
		got <- v
	}
	select {
	case n.completions <- look:
		return <-got, nil
	case <-ctx.Done():
		return View{}, errors.Join(errEnded, ctx.Err())
	}
}
