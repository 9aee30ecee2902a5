package replay

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/rawtx"
	"sightglass/ingester/transcript"
)

// NodeOptions configure a Node.
type NodeOptions struct {
	Endpoint  string    // ZMQ endpoint to bind; tcp://127.0.0.1:* takes a free port
	Sequence  string    // ZMQ endpoint to bind for the topic sequence alone. Empty: Endpoint
	RPCListen string    // address for RPC; 127.0.0.1:0 takes a free port. Empty: no RPC
	Speed     float64   // 1: as recorded, 10: ten times faster; 0: as fast as possible
	Start     time.Time // the time of the first line. Zero: when it is played; at speed 0, so that the last line is now
	Log       *slog.Logger
}

// A Node plays a recording: it publishes what was recorded over ZMQ, and serves RPC as the recorded node would have at
// that moment. It tracks the mempool independently of the code that listens to a node, and compares it with the
// recorded node's own lists.
//
// The times in its responses are those of the playback, so that an old recording looks as if it happened now; a
// serialised block keeps its header's time. A slow subscriber slows the Node down, and loses nothing.
//
// Step, Cut, AwaitSubscriber, Run and Close are for one goroutine. All other methods are safe for concurrent use.
type Node struct {
	opts     NodeOptions
	socket   *xpub
	sequence *xpub            // socket, unless NodeOptions.Sequence is set
	bound    map[*xpub]string // the endpoints of both
	server   *server          // nil: no RPC
	events   []event
	sent     int // the number of events played

	mu      sync.Mutex // guards what RPC reads: all fields below
	rec     *recording
	clock   clock
	applied int // the number of events in the state
	pool    pool
	block   []chainhash.Hash          // published since the last coinbase, perhaps a block
	bodies  map[chainhash.Hash][]byte // transactions, from rawtx
	fail    func(method string) *RPCError
	loading bool
}

// NewNode scans the recording and binds the sockets. Call Close, or Run, which closes it. The lines must not be changed
// afterwards.
func NewNode(o NodeOptions, lines []transcript.Line) (*Node, error) {
	if !(o.Speed >= 0) || math.IsInf(o.Speed, 0) {
		return nil, fmt.Errorf("speed %v: want 1 for the recorded speed, 10 for ten times faster, 0 for as fast as possible", o.Speed)
	}
	if len(lines) == 0 {
		return nil, errEmpty
	}
	rec, err := scan(lines)
	if err != nil {
		return nil, err
	}
	n := &Node{opts: o, rec: rec, events: rec.events, bodies: make(map[chainhash.Hash][]byte)}
	n.setClock()
	n.pool.restart()
	n.pool.known = rec.fromStart
	if rec.start != nil {
		n.pool.adopt(*rec.start)
	}
	if err := n.bind(); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *Node) setClock() {
	first, last := n.events[0].T, n.events[len(n.events)-1].T
	n.clock = clock{start: n.opts.Start, first: first, speed: n.opts.Speed}
	if n.opts.Speed == 0 {
		n.clock.speed = 1
	}
	if n.opts.Start.IsZero() {
		n.clock.start = time.Now()
	}
	if n.opts.Start.IsZero() && n.opts.Speed == 0 {
		n.clock.start = time.Now().Add(-time.Duration((last - first) * float64(time.Second)))
	}
	if n.rec.latest != nil {
		n.clock.setBy(n.rec.latest, n.rec.end)
	}
}

func (n *Node) bind() (err error) {
	if n.socket, err = newXPUB(n.opts.Endpoint, true); err != nil {
		return err
	}
	n.sequence = n.socket
	if n.opts.Sequence != "" {
		if n.sequence, err = newXPUB(n.opts.Sequence, true); err != nil {
			n.socket.close(0)
			return err
		}
	}
	n.bound = map[*xpub]string{n.socket: n.socket.bound, n.sequence: n.sequence.bound}
	if n.opts.RPCListen == "" {
		return nil
	}
	if n.server, err = serve(n.opts.RPCListen, n); err != nil {
		n.closeSockets(0)
	}
	return err
}

// sockets returns the sockets, one or two.
func (n *Node) sockets() []*xpub {
	if n.sequence == n.socket {
		return []*xpub{n.socket}
	}
	return []*xpub{n.socket, n.sequence}
}

func (n *Node) socketOf(topic string) *xpub {
	if topic == transcript.TopicSequence {
		return n.sequence
	}
	return n.socket
}

func (n *Node) closeSockets(linger time.Duration) {
	for _, s := range n.sockets() {
		s.close(linger)
	}
}

// Endpoint returns the address for subscribers.
func (n *Node) Endpoint() string { return n.bound[n.socket] }

// Endpoints returns the addresses for subscribers to all topics: one or two.
func (n *Node) Endpoints() (endpoints []string) {
	for _, s := range n.sockets() {
		endpoints = append(endpoints, n.bound[s])
	}
	return endpoints
}

// RPCURL returns the URL of the RPC server; empty without RPC.
func (n *Node) RPCURL() string {
	if n.server == nil {
		return ""
	}
	return n.server.url
}

// Close closes the sockets. It must not be called while Run is running.
func (n *Node) Close() { n.close(0) }

func (n *Node) close(linger time.Duration) {
	if n.server != nil {
		n.server.close()
	}
	n.closeSockets(linger)
}

// AwaitSubscriber returns when every endpoint has a subscriber to the topic, or when ctx ends.
func (n *Node) AwaitSubscriber(ctx context.Context, topic string) (err error) {
	for _, s := range n.sockets() {
		err = errors.Join(err, s.await(ctx, topic))
	}
	return err
}

// Cut closes the ZMQ sockets and binds new ones at the same ports. What is published before subscribers have
// reconnected is lost.
func (n *Node) Cut() (err error) {
	for _, s := range n.sockets() {
		err = errors.Join(err, s.rebind())
	}
	return err
}

// Fail makes RPC return the error of f for a method, until Fail is called again. A nil f, or a nil error, is no
// failure. f is called with a lock held, so it must not call the Node.
func (n *Node) Fail(f func(method string) *RPCError) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail = f
}

// Loading sets whether the node reports that it is loading its mempool from its file, as after a start.
func (n *Node) Loading(loading bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loading = loading
}

// Mempool returns the unconfirmed transactions, ordered by hash, and the number of the mempool's next change. If
// several blocks and their consequences are published one after the other, the state includes all of them from the
// first notification on: the node applies them at once.
func (n *Node) Mempool() (ids []chainhash.Hash, sequence uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.pool.ids {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b chainhash.Hash) int { return bytes.Compare(a[:], b[:]) })
	return ids, n.pool.next
}

// Fault is what happens to a notification in transit.
type Fault uint8

// The faults. They do not affect the state.
const (
	Deliver   Fault = iota // none
	Drop                   // it is not sent
	Duplicate              // it is sent twice
	Damage                 // half of its body is sent
)

// Step plays the next line; ok is false if there is none. A recorded response is compared with the state: an error that
// wraps ErrDisagree reports a difference, after which the state is the recorded one, and Step can continue. At a line
// with the method Restart the socket is cut as by Cut, so a test may want to await its subscriber again.
func (n *Node) Step(fault Fault) (line transcript.Line, ok bool, err error) {
	return n.step(context.Background(), fault)
}

func (n *Node) step(ctx context.Context, fault Fault) (line transcript.Line, ok bool, err error) {
	if n.sent == len(n.events) {
		return line, false, nil
	}
	line = n.events[n.sent].Line
	n.sent++
	err = n.advance()
	switch {
	case line.Method == Restart:
		err = errors.Join(err, n.Cut())
	case line.Topic != "":
		err = errors.Join(err, n.publish(ctx, fault, line))
	}
	return line, true, err
}

func (n *Node) publish(ctx context.Context, fault Fault, line transcript.Line) error {
	var err error
	body := line.Body
	if fault == Damage {
		body = body[:len(body)/2]
	}
	for range [...]int{Deliver: 1, Drop: 0, Duplicate: 2, Damage: 1}[fault] {
		counter := binary.LittleEndian.AppendUint32(nil, line.Counter)
		err = errors.Join(err, n.socketOf(line.Topic).send(ctx, []byte(line.Topic), body, counter))
	}
	return err
}

// advance applies the sent events to the state. In the middle of a step of the chain it continues to the end of the
// step: no response of a real node shows half of one.
func (n *Node) advance() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	for n.applied < n.sent || n.pool.midStep() && n.applied < len(n.events) && n.events[n.applied].Method != Restart {
		err = errors.Join(err, n.apply(n.events[n.applied]))
		n.applied++
	}
	return err
}

// apply applies e to the state.
func (n *Node) apply(e event) error {
	var err error
	switch {
	case e.Method == Restart:
		n.pool.restart()
		n.block = nil
	case e.Method != "":
		if c, ok := checkpointOf(e.Line); ok {
			err = n.pool.check(c)
		}
	case e.Topic == transcript.TopicRawTx:
		err = n.applyRawTx(e)
	case e.Topic == transcript.TopicSequence:
		err = n.applySequence(e)
	case e.Topic == transcript.TopicHashBlock:
		n.pool.endStep()
	}
	return errors.Join(err, n.pool.settle())
}

// applyRawTx stores the body, and collects what may be a block: a coinbase and all that follows.
func (n *Node) applyRawTx(e event) error {
	tx, err := rawtx.Decode(e.Body)
	if err != nil {
		return fmt.Errorf("the recording at t=%g: %w", e.T, err)
	}
	id := tx.TxHash()
	n.bodies[id] = e.Body
	switch {
	case rawtx.IsCoinbase(tx):
		n.block = []chainhash.Hash{id}
	case e.lost:
		n.block = nil
	case n.block != nil:
		n.block = append(n.block, id)
	}
	return nil
}

func (n *Node) applySequence(e event) error {
	s, err := transcript.ParseSequence(e.Body)
	if err != nil {
		return err
	}
	if e.lost {
		n.pool.lost()
	}
	switch s.Letter {
	case transcript.Connected, transcript.Disconnected:
		n.applyBlock(e.T, s)
	default:
		n.pool.change(change{number: s.Number, id: s.Hash, added: s.Letter == transcript.Added}, e.T)
	}
	n.block = nil
	return nil
}

func (n *Node) applyBlock(t float64, s transcript.Sequence) {
	b := n.rec.chain.block(s.Hash)
	n.fillBlock(b)
	if s.Letter == transcript.Disconnected {
		n.rec.chain.disconnect(b, t)
		return
	}
	n.rec.chain.connect(b, t)
	if b.txids == nil {
		n.pool.lost()
		return
	}
	n.pool.block(b.txids)
}

// fillBlock assigns the collected transactions to b, unless they contradict its header.
func (n *Node) fillBlock(b *block) {
	if b.txids != nil || n.block == nil || b.header != nil && b.header.MerkleRoot != MerkleRoot(n.block) {
		return
	}
	b.txids = n.block
	if b.height == unknown {
		coinbase, err := rawtx.Decode(n.bodies[n.block[0]])
		if err == nil {
			b.height = coinbaseHeight(coinbase)
		}
	}
}

// Run waits for the first subscriber, plays all lines at their times, and then serves RPC until ctx ends; without RPC
// it returns at the end. After a restart it waits for a subscriber again, which delays the rest. A recording that
// disagrees with itself is logged and played on.
func (n *Node) Run(ctx context.Context) error {
	defer n.Close()
	if err := n.awaitAny(ctx); err != nil {
		return err
	}
	if n.opts.Start.IsZero() && n.opts.Speed > 0 {
		n.delay(time.Since(n.clock.start))
	}
	n.opts.Log.Info("playing", "lines", len(n.events), "speed", n.opts.Speed)
	if err := n.play(ctx); err != nil {
		return err
	}
	n.opts.Log.Info("done", "lines", n.sent)
	if n.server != nil {
		<-ctx.Done()
	}
	n.close(linger)
	return nil
}

// awaitAny returns when every endpoint has a subscriber, or when ctx ends.
func (n *Node) awaitAny(ctx context.Context) (err error) {
	for _, s := range n.sockets() {
		err = errors.Join(err, s.awaitAny(ctx))
	}
	return err
}

// delay postpones all remaining events.
func (n *Node) delay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clock.start = n.clock.start.Add(d)
}

func (n *Node) play(ctx context.Context) error {
	origin := time.Now()
	for n.sent < len(n.events) && n.awaitTime(ctx, origin) {
		line, _, err := n.step(ctx, Deliver)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // ctx has ended; what was left undone is no error
		case errors.Is(err, ErrDisagree):
			n.opts.Log.Warn(err.Error())
		case err != nil:
			return err
		}
		if line.Method == Restart {
			n.opts.Log.Info("the recorded node restarted")
			cut := time.Now()
			if err := n.awaitAny(ctx); err != nil {
				return err
			}
			origin = origin.Add(time.Since(cut))
		}
	}
	return nil
}

// awaitTime waits until the next line is due. It returns false if ctx ends first.
func (n *Node) awaitTime(ctx context.Context, origin time.Time) bool {
	if n.opts.Speed == 0 {
		return ctx.Err() == nil
	}
	due := n.clock
	due.start = origin
	timer := time.NewTimer(time.Until(due.playing(n.events[n.sent].T)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
