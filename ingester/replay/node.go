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

// NodeOptions say where a recorded life is played, and how fast.
type NodeOptions struct {
	Endpoint  string    // ZMQ endpoint to bind; tcp://127.0.0.1:* takes a free port
	Sequence  string    // ZMQ endpoint to bind for the topic sequence, which then is published there alone. Empty: Endpoint
	RPCListen string    // address to answer RPC on; 127.0.0.1:0 takes a free port. Empty: no RPC
	Speed     float64   // 1: as recorded, 10: ten times faster; 0: as fast as possible
	Start     time.Time // what is taken for the time of the first line. Zero: when it is played; at speed 0, so that the last line is now
	Log       *slog.Logger
}

// A Node lives a recorded life again: it publishes over ZMQ what was recorded, and answers RPC as the recorded node
// would have at that moment. It keeps its own account of the mempool, apart from all code that listens to a node, and
// compares it with what the recorded node said of itself.
//
// The times in its answers are those of the playing, so that an old recording looks as if it happened now; a block in
// its serialisation keeps its header's time. Who takes what it publishes slowly slows it down, and loses nothing.
//
// Step, Cut, AwaitSubscriber, Run and Close are for one goroutine. All else may be called meanwhile.
type Node struct {
	opts     NodeOptions
	socket   *xpub
	sequence *xpub            // socket, unless NodeOptions.Sequence gives the topic one of its own
	bound    map[*xpub]string // the endpoints of both
	server   *server          // nil: no RPC
	events   []event
	sent     int // the events that were played

	mu      sync.Mutex // guards what RPC reads, all below
	rec     *recording
	clock   clock
	applied int // the events that state is as of
	pool    pool
	block   []chainhash.Hash          // what was published since the last coinbase, perhaps a block
	bodies  map[chainhash.Hash][]byte // transactions, from rawtx
	fail    func(method string) *RPCError
	loading bool
}

// NewNode looks through the recording and binds the sockets. Close it, or Run it, which closes it. The lines must not
// be changed afterwards.
func NewNode(o NodeOptions, lines []transcript.Line) (*Node, error) {
	if !(o.Speed >= 0) || math.IsInf(o.Speed, 0) {
		return nil, fmt.Errorf("speed %v: want 1 for as recorded, 10 for ten times faster, 0 for as fast as possible", o.Speed)
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

// sockets are the sockets that there are, one or two.
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

// Endpoint is where subscribers connect to.
func (n *Node) Endpoint() string { return n.bound[n.socket] }

// Endpoints are where subscribers connect to for all topics: one, or two.
func (n *Node) Endpoints() (endpoints []string) {
	for _, s := range n.sockets() {
		endpoints = append(endpoints, n.bound[s])
	}
	return endpoints
}

// RPCURL is where RPC is answered; empty without RPC.
func (n *Node) RPCURL() string {
	if n.server == nil {
		return ""
	}
	return n.server.url
}

// Close frees the sockets. It must not be called while Run is running.
func (n *Node) Close() { n.close(0) }

func (n *Node) close(linger time.Duration) {
	if n.server != nil {
		n.server.close()
	}
	n.closeSockets(linger)
}

// AwaitSubscriber returns when somebody has subscribed to the topic at every endpoint, or when ctx ends.
func (n *Node) AwaitSubscriber(ctx context.Context, topic string) (err error) {
	for _, s := range n.sockets() {
		err = errors.Join(err, s.await(ctx, topic))
	}
	return err
}

// Cut closes the ZMQ sockets and binds them anew at the same ports. What is published before subscribers are back is lost.
func (n *Node) Cut() (err error) {
	for _, s := range n.sockets() {
		err = errors.Join(err, s.rebind())
	}
	return err
}

// Fail makes RPC answer the error that f gives for a method, until Fail is called again. A nil f, or a nil error, is
// no failure. It is called with a lock held, so it must not call the Node.
func (n *Node) Fail(f func(method string) *RPCError) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail = f
}

// Loading says whether the node is to answer that it still reads its mempool from its file, as it does after a start.
func (n *Node) Loading(loading bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loading = loading
}

// Mempool gives the transactions that are unconfirmed now, in order of their hashes, and the number that the next
// change of the mempool takes. Where several blocks and what they cause are published one after the other, the state
// is the one after all of that, from the first notification on: the node does it all at once.
func (n *Node) Mempool() (ids []chainhash.Hash, sequence uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.pool.ids {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b chainhash.Hash) int { return bytes.Compare(a[:], b[:]) })
	return ids, n.pool.next
}

// Fault is what happens to a notification on its way.
type Fault uint8

// The faults. They are about the way: the state moves on all the same.
const (
	Deliver   Fault = iota // none
	Drop                   // it is not sent
	Duplicate              // it is sent twice
	Damage                 // half of its body is sent
)

// Step plays the next line; not ok means that there is none. An answer that was recorded is compared with the state:
// an error that wraps ErrDisagree says that they differ, after which the state is what was recorded, and Step can go
// on. At a line with the method Restart the socket is cut as by Cut, so a test may want to await its subscriber again.
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

// advance brings the state up to what was sent. In the middle of a step of the chain it goes on to its end: no answer
// of a real node shows half of one.
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

// apply changes the state as e tells.
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

// applyRawTx keeps the body, and gathers what may be a block: a coinbase and all that follows.
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

// fillBlock takes the gathered transactions for b's, unless they contradict its header.
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

// Run waits for the first subscriber, plays all lines in their time, and then goes on answering RPC until ctx ends;
// without RPC it returns at the end. After a restart it waits for a subscriber again, and the rest comes as much
// later. A recording that disagrees with itself is logged, and played on.
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

// awaitAny returns when somebody has subscribed at every endpoint, or when ctx ends.
func (n *Node) awaitAny(ctx context.Context) (err error) {
	for _, s := range n.sockets() {
		err = errors.Join(err, s.awaitAny(ctx))
	}
	return err
}

// delay moves all that is still to come.
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
			return nil //nolint:nilerr // it was told to stop; what it left undone is no error
		case errors.Is(err, ErrDisagree):
			n.opts.Log.Warn(err.Error())
		case err != nil:
			return err
		}
		if line.Method == Restart {
			n.opts.Log.Info("the recorded node started again")
			cut := time.Now()
			if err := n.awaitAny(ctx); err != nil {
				return err
			}
			origin = origin.Add(time.Since(cut))
		}
	}
	return nil
}

// awaitTime waits until the next line is due. It reports false if ctx ends before that.
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
