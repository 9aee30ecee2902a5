package node

import (
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/zmqsub"
)

// link is how the connection does.
type link struct {
	up       int // connections that are there: one for each endpoint
	heard    time.Time
	silent   bool                // and an operator was told
	auditing bool                // RPC is asked whether the silence is right
	topics   map[string]struct{} // heard on this socket

	bodiless int // A's in a row whose rawtx did not come
	untold   int // rawtx's in a row whose A did not come
}

func (n *Node) take(m zmqsub.Message) {
	switch m.Kind {
	case zmqsub.Up:
		n.link.up++
		n.setConnected(true)
		n.log.Info("connected to the node", "endpoint", m.Endpoint, "address", m.Address)
		if n.rpc != nil { // it may be a node that has only begun, and tells its old mempool
			n.sync.reach.connected(m.At, n.counters[TopicRawTx].begun || n.counters[TopicSequence].begun)
		}
		n.resync(whyConnected, m.At)
	case zmqsub.Down:
		n.link.up = max(0, n.link.up-1)
		if n.link.up == 0 {
			n.setConnected(false)
		}
		n.sync.inStep = false
		n.run.end()
		n.log.Warn("the node's connection is lost; trying to get it back", "endpoint", m.Endpoint, "address", m.Address)
	case zmqsub.Data:
		n.hear(m)
	}
}

// hear takes in a notification. One that is broken is counted and passed over.
func (n *Node) hear(raw zmqsub.Message) {
	m, err := decode(raw.Frames)
	m.at = raw.At
	if m.topic != "" && !n.follow(&m, raw.Frames[1]) { // of a broken one too: it did arrive
		n.metrics.repeated.WithLabelValues(m.topic).Inc()
		return
	}
	if err != nil {
		n.metrics.badMessages.WithLabelValues(reason(err)).Inc()
		if m.topic == TopicRawTx { // it may be of a block, or even its coinbase: as if it were lost
			n.run.whole = false
			n.run.unsure = n.rpc != nil && n.sequenced()
		}
		n.often.Do(func() { n.log.Warn("passed over a broken message", "err", err) })
		return
	}
	n.metrics.messages.WithLabelValues(m.topic).Inc()
	n.metrics.heard[m.topic].Set(float64(m.at.UnixMilli()) / 1000)
	n.notSilent(&m)
	if m.topic == TopicSequence {
		n.run.unsure = false
	}
	switch m.letter {
	case 0:
		n.transaction(&m)
	case added:
		n.added(&m)
	case removed:
		n.removed(&m)
	case connected:
		n.connected(&m)
	case disconnected:
		n.disconnected(&m)
	}
}

// follow watches a topic's counter. It reports false for a message that came before.
func (n *Node) follow(m *message, body []byte) bool {
	if c := n.counters[m.topic]; m.topic == TopicSequence && !c.begun {
		n.resync(whyConnected, m.at) // blocks that were lost before the first message of this topic show in no counter
	}
	verdict, missing := n.counters[m.topic].check(m.counter, body)
	switch verdict {
	case repeated:
		return false
	case restarted:
		n.restarted(m)
	case gap:
		n.metrics.missed.WithLabelValues(m.topic).Add(float64(missing))
		n.often.Do(func() {
			n.log.Warn("messages were lost on the way from the node", "topic", m.topic, "missed", missing)
		})
		n.lost(m)
	}
	return true
}

// lost heals a gap before m. A lost transaction of the mempool shows when its A comes; a block that was lost as a whole
// shows in nothing but the node's own chain, so that is asked for with the list.
func (n *Node) lost(m *message) {
	n.run.whole = false
	n.run.unsure = m.topic == TopicRawTx && n.hasRPC() && n.sequenced()
	if m.topic == TopicSequence || !n.sequenced() {
		n.sync.inStep = false
	}
	n.resync(whyGap, m.at)
}

// restarted is called for the first message of a node that began anew. Its mempool is another one, which it reads from
// its file and tells as if all of it came now; so nothing it tells is believed to be new until RPC says that this is over.
func (n *Node) restarted(m *message) {
	n.log.Info("the node started again", "topic", m.topic)
	n.metrics.restarts.Inc()
	for topic, c := range n.counters {
		if topic != m.topic {
			*c = counter{}
		}
	}
	n.run.end()
	n.sync.forget()
	n.sync.begunAnew = true
	if n.rpc == nil {
		n.pool.reset()
		return
	}
	n.pool.next = 0
	n.sync.reach.restarted(m.at)
	n.resync(whyRestart, m.at)
}

// sequenced reports whether the node publishes the topic sequence, as far as is known.
func (n *Node) sequenced() bool {
	return n.counters[TopicSequence].begun || n.publishes(TopicSequence)
}

// transaction takes in a rawtx: of the mempool, or of a block.
func (n *Node) transaction(m *message) {
	switch {
	case isCoinbase(m.tx) && n.sequenced():
		n.abandonRun(m.at)
		n.run.start(m)
	case n.run.open:
		if n.run.take(m); len(n.run.ids) > mostInRun {
			n.abandonRun(m.at)
		}
	default:
		n.unconfirmed(m.id, m.tx, m.at)
	}
}

// unconfirmed passes a transaction on that came as if into the mempool.
func (n *Node) unconfirmed(id chainhash.Hash, tx *wire.MsgTx, at time.Time) {
	if n.sync.reach.holds() || n.hasRPC() && (n.chain.behind || n.run.unsure) {
		n.metrics.held.Inc() // if it is in the mempool the fill asks for it, and when it came
		return
	}
	n.link.untold++
	n.pool.hear(id)
	n.emit(Event{Kind: Seen, ID: id, Tx: tx, At: at, Heard: at})
}

func (n *Node) added(m *message) {
	if n.run.open { // no A comes inside a block: its C was lost
		tx := n.run.pop(m.id)
		n.abandonRun(m.at)
		if tx != nil {
			n.unconfirmed(m.id, tx, m.at)
		}
	}
	delete(n.chain.orphans, m.id)
	delete(n.chain.vanished, m.id)
	n.sync.note(m, nil)
	n.sync.heard = max(n.sync.heard, m.number)
	n.link.untold = 0
	if !n.pool.add(m.id, m.number) {
		n.drifted(m)
		return
	}
	if !n.pool.lacks(m.id) {
		n.link.bodiless = 0
		return
	}
	if !n.sync.reach.holds() {
		n.link.bodiless++
	}
	if n.hasRPC() { // otherwise the next list shows that it is lacking
		n.fill.want(m.id)
	}
}

func (n *Node) removed(m *message) {
	delete(n.chain.vanished, m.id)
	n.sync.note(m, nil)
	n.sync.heard = max(n.sync.heard, m.number)
	if !n.pool.remove(m.id, m.number) {
		n.drifted(m)
	}
	n.emit(Event{Kind: Gone, ID: m.id, At: m.at, Heard: m.at})
}

// endRunInTime gives up on a block whose C or D does not come.
func (n *Node) endRunInTime(now time.Time) {
	if n.run.open && now.Sub(n.run.last) > runTimeout {
		n.abandonRun(now)
	}
}

// runTimeout: the C comes right behind the transactions, so a second is long.
const runTimeout = 2 * time.Second

// abandonRun ends a run whose C or D was lost, or comes by another address and has yet to come. With RPC the block is
// asked for: it may be one whose C shows in no counter as lost. Without RPC, or if the topic sequence does not come here
// after all, what may be transactions of the mempool is taken for that.
func (n *Node) abandonRun(now time.Time) {
	if !n.run.open {
		return
	}
	ids, txs, _ := n.run.end()
	n.resync(whyBlocks, now)
	if n.hasRPC() && n.counters[TopicSequence].begun {
		return
	}
	for i, tx := range txs {
		n.unconfirmed(ids[i], tx, n.run.last)
	}
}
