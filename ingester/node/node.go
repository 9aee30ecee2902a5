// Package node turns bitcoind's messages into one stream of events: transactions that the node sees, and transactions
// that leave its mempool without a block. It listens over ZMQ. With RPC it also loads the mempool and the blocks from
// before the start, and fetches lost messages.
//
// A tracker holds all state, and decides. It has no clock and no I/O: messages, RPC responses and ticks go in; events
// and requests come out. A Node owns the tracker, and runs it in one loop between the ZMQ socket, which a goroutine of
// package zmqsub owns, RPC and the caller. RPC requests run beside the loop, so a slow response delays no message, and
// the state needs no lock.
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
	IdleTimeout time.Duration    // time without a message after which RPC is queried whether the node is idle; 0: 1 m
	Log         *slog.Logger

	// ZMQOnlyAfter is how long RPC may fail before the Node continues with ZMQ alone, as without RPC; 0: 30 s.
	ZMQOnlyAfter time.Duration
}

// A Node follows one bitcoind. Run may be called once.
type Node struct {
	rpc      *bitcoind.Client
	metrics  *Metrics
	listener *zmqsub.Listener
	tracker  *tracker
	state    state // of the tracker, as published

	messages chan zmqsub.Message
	calls    chan func(*tracker, time.Time) // to be run in the loop: RPC responses, and View
	requests sync.WaitGroup
	ctx      context.Context // of Run
	events   chan<- Event

	connected, zmqOnly atomic.Bool // for other goroutines
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
		rpc:      o.RPC,
		metrics:  metrics,
		listener: listener,
		tracker:  newTracker(o, metrics),
		messages: make(chan zmqsub.Message, messageQueue),
		calls:    make(chan func(*tracker, time.Time)),
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
	t := n.tracker
	t.start(time.Now())
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for n.ctx.Err() == nil {
		n.drainMessages()
		now := time.Now()
		t.startRequests(now)
		var backlog chan struct{}
		if t.deliverBacklog(now) {
			backlog = always
		}
		n.perform()
		select {
		case <-n.ctx.Done():
			return
		case m := <-n.messages:
			t.handle(m)
		case call := <-n.calls:
			call(t, time.Now())
		case now := <-ticker.C:
			for _, link := range n.listener.Links() {
				n.metrics.endpoints.WithLabelValues(link.Endpoint).Set(oneIf(link.Up))
			}
			t.tick(now)
		case <-backlog:
		}
		n.perform()
	}
}

// always is closed: a select with it does not block.
var always = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// drainMessages handles the messages that are waiting, so that they precede fetched transactions.
func (n *Node) drainMessages() {
	for range messageBatch {
		select {
		case m := <-n.messages:
			n.tracker.handle(m)
			n.perform()
		default:
			return
		}
	}
}

// perform sends the tracker's output, and publishes its state.
func (n *Node) perform() {
	out := &n.tracker.out
	for i, ev := range out.events {
		select {
		case n.events <- ev:
		case <-n.ctx.Done():
		}
		out.events[i] = Event{} // release the transaction
	}
	for _, r := range out.requests {
		n.requests.Go(func() {
			apply := r.fetch(n.ctx, n.rpc)
			if n.ctx.Err() != nil {
				return // an error may be about ctx
			}
			select {
			case n.calls <- apply:
			case <-n.ctx.Done():
			}
		})
	}
	if out.reconnect {
		n.listener.Reconnect()
	}
	*out = output{events: out.events[:0]}
	if s := n.tracker.state(); s != n.state {
		n.state = s
		n.connected.Store(s.connected)
		n.zmqOnly.Store(s.zmqOnly)
		n.metrics.connected.Set(oneIf(s.connected))
		n.metrics.zmqOnly.Set(oneIf(s.zmqOnly))
		n.metrics.inSync.Set(oneIf(s.inSync))
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Connected reports whether a ZMQ connection is up. It is safe for concurrent use.
func (n *Node) Connected() bool { return n.connected.Load() }

// ZMQOnly reports whether RPC is configured but has failed for Options.ZMQOnlyAfter, so that the Node works with ZMQ
// alone. It is safe for concurrent use.
func (n *Node) ZMQOnly() bool { return n.zmqOnly.Load() }

// Links returns the state of the connection to each endpoint. It is safe for concurrent use.
func (n *Node) Links() []zmqsub.Link { return n.listener.Links() }

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
	select {
	case n.calls <- func(t *tracker, _ time.Time) { view <- t.view() }:
		return <-view, nil
	case <-ctx.Done():
		return View{}, errors.Join(errEnded, ctx.Err())
	}
}
