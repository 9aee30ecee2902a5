package node

import (
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
	"sightglass/ingester/transcript"
	"sightglass/ingester/zmqsub"
)

// link is how the connection does.
type link struct {
	up          int // connections that are there: one for each endpoint
	lastMessage time.Time
	idle        bool                // and an operator was told
	verifying   bool                // RPC is asked whether the silence is right
	topics      map[string]struct{} // heard on this socket

	withoutBody int // A's in a row whose rawtx did not come
	withoutAdd  int // rawtx's in a row whose A did not come
}

func (n *Node) handle(m zmqsub.Message) {
	switch m.Kind {
	case zmqsub.Up:
		n.link.up++
		n.setConnected(true)
		n.log.Info("connected to the node", "endpoint", m.Endpoint, "address", m.Address)
		if n.rpc != nil { // it may be a node that has only begun, and tells its old mempool
			n.sync.rpc.connected(m.At, n.counters[TopicRawTx].started || n.counters[TopicSequence].started)
		}
		n.resync(whyConnected, m.At)
	case zmqsub.Down:
		n.link.up = max(0, n.link.up-1)
		if n.link.up == 0 {
			n.setConnected(false)
		}
		n.sync.inSync = false
		n.assembler.finish()
		n.log.Warn("the node's connection is lost; trying to get it back", "endpoint", m.Endpoint, "address", m.Address)
	case zmqsub.Data:
		n.handleNotification(m)
	}
}

// hear takes in a notification. One that is broken is counted and passed over.
func (n *Node) handleNotification(raw zmqsub.Message) {
	m, err := decode(raw.Frames)
	m.at = raw.At
	if m.topic != "" && !n.checkCounter(&m, raw.Frames[1]) { // of a broken one too: it did arrive
		n.metrics.repeated.WithLabelValues(m.topic).Inc()
		return
	}
	if err != nil {
		n.metrics.badMessages.WithLabelValues(reason(err)).Inc()
		if m.topic == TopicRawTx { // it may be of a block, or even its coinbase: as if it were lost
			n.assembler.complete = false
			n.assembler.ambiguous = n.rpc != nil && n.hasSequence()
		}
		n.logLimit.Do(func() { n.log.Warn("passed over a broken message", "err", err) })
		return
	}
	n.metrics.messages.WithLabelValues(m.topic).Inc()
	n.metrics.lastMessage[m.topic].Set(float64(m.at.UnixMilli()) / 1000)
	n.noteActivity(&m)
	if m.topic == TopicSequence {
		n.assembler.ambiguous = false
	}
	switch m.letter {
	case 0:
		n.handleTransaction(&m)
	case transcript.Added:
		n.handleAdded(&m)
	case transcript.Removed:
		n.handleRemoved(&m)
	case transcript.Connected:
		n.handleConnected(&m)
	case transcript.Disconnected:
		n.handleDisconnected(&m)
	}
}

// follow watches a topic's counter. It reports false for a message that came before.
func (n *Node) checkCounter(m *message, body []byte) bool {
	if c := n.counters[m.topic]; m.topic == TopicSequence && !c.started {
		n.resync(whyConnected, m.at) // blocks that were lost before the first message of this topic show in no counter
	}
	verdict, missing := n.counters[m.topic].check(m.counter, body)
	switch verdict {
	case repeated:
		return false
	case restarted:
		n.handleRestart(m)
	case gap:
		n.metrics.missed.WithLabelValues(m.topic).Add(float64(missing))
		n.logLimit.Do(func() {
			n.log.Warn("messages were lost on the way from the node", "topic", m.topic, "missed", missing)
		})
		n.handleGap(m)
	}
	return true
}

// lost heals a gap before m. A lost transaction of the mempool shows when its A comes; a block that was lost as a whole
// shows in nothing but the node's own chain, so that is asked for with the list.
func (n *Node) handleGap(m *message) {
	n.assembler.complete = false
	n.assembler.ambiguous = m.topic == TopicRawTx && n.hasRPC() && n.hasSequence()
	if m.topic == TopicSequence || !n.hasSequence() {
		n.sync.inSync = false
	}
	n.resync(whyGap, m.at)
}

// restarted is called for the first message of a node that began anew. Its mempool is another one, which it reads from
// its file and tells as if all of it came now; so nothing it tells is believed to be new until RPC says that this is over.
func (n *Node) handleRestart(m *message) {
	n.log.Info("the node started again", "topic", m.topic)
	n.metrics.restarts.Inc()
	for topic, c := range n.counters {
		if topic != m.topic {
			*c = counter{}
		}
	}
	n.assembler.finish()
	n.sync.cancel()
	n.sync.restarted = true
	if n.rpc == nil {
		n.pool.reset()
		return
	}
	n.pool.next = 0
	n.sync.rpc.restarted(m.at)
	n.resync(whyRestart, m.at)
}

// sequenced reports whether the node publishes the topic sequence, as far as is known.
func (n *Node) hasSequence() bool {
	return n.counters[TopicSequence].started || n.publishes(TopicSequence)
}

// transaction takes in a rawtx: of the mempool, or of a block.
func (n *Node) handleTransaction(m *message) {
	switch {
	case rawtx.IsCoinbase(m.tx) && n.hasSequence():
		n.abandonBlock(m.at)
		n.assembler.start(m)
	case n.assembler.open:
		if n.assembler.add(m); len(n.assembler.ids) > maxBlockTransactions {
			n.abandonBlock(m.at)
		}
	default:
		n.deliverUnconfirmed(m.id, m.tx, m.at)
	}
}

// unconfirmed passes a transaction on that came as if into the mempool.
func (n *Node) deliverUnconfirmed(id chainhash.Hash, tx *wire.MsgTx, at time.Time) {
	if n.sync.rpc.defers() || n.hasRPC() && (n.chain.initialDownload || n.assembler.ambiguous) {
		n.metrics.deferred.Inc() // if it is in the mempool the fill asks for it, and when it came
		return
	}
	n.link.withoutAdd++
	n.pool.markReceived(id)
	n.emit(Event{Kind: Seen, ID: id, Tx: tx, At: at, Received: at})
}

func (n *Node) handleAdded(m *message) {
	if n.assembler.open { // no A comes inside a block: its C was lost
		tx := n.assembler.removeLast(m.id)
		n.abandonBlock(m.at)
		if tx != nil {
			n.deliverUnconfirmed(m.id, tx, m.at)
		}
	}
	delete(n.chain.orphans, m.id)
	delete(n.chain.vanished, m.id)
	n.sync.record(m, nil)
	n.sync.highest = max(n.sync.highest, m.number)
	n.link.withoutAdd = 0
	if !n.pool.add(m.id, m.number) {
		n.handleStaleChange(m)
		return
	}
	if !n.pool.isMissing(m.id) {
		n.link.withoutBody = 0
		return
	}
	if !n.sync.rpc.defers() {
		n.link.withoutBody++
	}
	if n.hasRPC() { // otherwise the next list shows that it is lacking
		n.backfill.add(m.id)
	}
}

func (n *Node) handleRemoved(m *message) {
	delete(n.chain.vanished, m.id)
	n.sync.record(m, nil)
	n.sync.highest = max(n.sync.highest, m.number)
	if !n.pool.remove(m.id, m.number) {
		n.handleStaleChange(m)
	}
	n.emit(Event{Kind: Gone, ID: m.id, At: m.at, Received: m.at})
}

// endRunInTime gives up on a block whose C or D does not come.
func (n *Node) checkBlockTimeout(now time.Time) {
	if n.assembler.open && now.Sub(n.assembler.lastReceived) > assemblerTimeout {
		n.abandonBlock(now)
	}
}

// runTimeout: the C comes right behind the transactions, so a second is long.
const assemblerTimeout = 2 * time.Second

// abandonRun ends a run whose C or D was lost, or comes by another address and has yet to come. With RPC the block is
// asked for: it may be one whose C shows in no counter as lost. Without RPC, or if the topic sequence does not come here
// after all, what may be transactions of the mempool is taken for that.
func (n *Node) abandonBlock(now time.Time) {
	if !n.assembler.open {
		return
	}
	ids, txs, _ := n.assembler.finish()
	n.resync(whyBlocks, now)
	if n.hasRPC() && n.counters[TopicSequence].started {
		return
	}
	for i, tx := range txs {
		n.deliverUnconfirmed(ids[i], tx, n.assembler.lastReceived)
	}
}
