package node

import (
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
	"sightglass/ingester/transcript"
	"sightglass/ingester/zmqsub"
)

// link is the state of the ZMQ connections.
type link struct {
	up          int // connections that are up, one for each endpoint
	lastMessage time.Time
	idle        bool                // and the log says so
	verifying   bool                // a request to RPC whether the node is idle is in flight
	topics      map[string]struct{} // received on this socket

	withoutBody int // A's in a row without their rawtx
	withoutAdd  int // rawtx's in a row without their A
}

func (n *Node) handle(m zmqsub.Message) {
	switch m.Kind {
	case zmqsub.Up:
		n.link.up++
		n.setConnected(true)
		n.log.Info("connected to bitcoind", "endpoint", m.Endpoint, "address", m.Address)
		if n.rpc != nil { // the node may have just started and send its old mempool
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
		n.log.Warn("lost the connection to bitcoind; reconnecting", "endpoint", m.Endpoint, "address", m.Address)
	case zmqsub.Data:
		n.handleNotification(m)
	}
}

// handleNotification handles a notification. A malformed one is counted and skipped.
func (n *Node) handleNotification(raw zmqsub.Message) {
	m, err := decode(raw.Frames)
	m.at = raw.At
	if m.topic != "" && !n.checkCounter(&m, raw.Frames[1]) { // of a malformed one too: it did arrive
		n.metrics.repeated.WithLabelValues(m.topic).Inc()
		return
	}
	if err != nil {
		n.metrics.badMessages.WithLabelValues(reason(err)).Inc()
		if m.topic == TopicRawTx { // it may belong to a block, or be its coinbase: treated as lost
			n.assembler.complete = false
			n.assembler.ambiguous = n.rpc != nil && n.hasSequence()
		}
		n.logLimit.Do(func() { n.log.Warn("skipped a malformed message", "err", err) })
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

// checkCounter tracks a topic's counter. It returns false for a repeated message.
func (n *Node) checkCounter(m *message, body []byte) bool {
	if c := n.counters[m.topic]; m.topic == TopicSequence && !c.started {
		n.resync(whyConnected, m.at) // no counter shows blocks that were lost before the first message of this topic
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
			n.log.Warn("messages from bitcoind were lost", "topic", m.topic, "missed", missing)
		})
		n.handleGap(m)
	}
	return true
}

// handleGap recovers from lost messages before m. The A of a lost transaction shows that its body is missing. A block
// lost as a whole shows only in the node's chain, so the chain is fetched with the list.
func (n *Node) handleGap(m *message) {
	n.assembler.complete = false
	n.assembler.ambiguous = m.topic == TopicRawTx && n.hasRPC() && n.hasSequence()
	if m.topic == TopicSequence || !n.hasSequence() {
		n.sync.inSync = false
	}
	n.resync(whyGap, m.at)
}

// handleRestart handles the first message of a restarted node. The node loads its mempool from a file and publishes all
// of it as new, so no transaction counts as new until RPC says that the load is complete.
func (n *Node) handleRestart(m *message) {
	n.log.Info("bitcoind restarted", "topic", m.topic)
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

// hasSequence reports whether the node publishes the topic sequence, as far as known.
func (n *Node) hasSequence() bool {
	return n.counters[TopicSequence].started || n.publishes(TopicSequence)
}

// handleTransaction handles a rawtx: of the mempool, or of a block.
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

// deliverUnconfirmed delivers a transaction that is not part of a block.
func (n *Node) deliverUnconfirmed(id chainhash.Hash, tx *wire.MsgTx, at time.Time) {
	if n.sync.rpc.defers() || n.hasRPC() && (n.chain.initialDownload || n.assembler.ambiguous) {
		n.metrics.deferred.Inc() // if it is in the mempool, the backfill fetches it with its entry time
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
	if n.hasRPC() { // otherwise the next list shows that it is missing
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

// checkBlockTimeout abandons a block whose C or D does not come.
func (n *Node) checkBlockTimeout(now time.Time) {
	if n.assembler.open && now.Sub(n.assembler.lastReceived) > assemblerTimeout {
		n.abandonBlock(now)
	}
}

// assemblerTimeout is long: the C follows the transactions at once.
const assemblerTimeout = 2 * time.Second

// abandonBlock closes a block whose C or D was lost, or comes by another endpoint and is still to come. With RPC the
// block is fetched: the loss of its C may show in no counter. Without RPC, or if the topic sequence does not come at
// all, its transactions are treated as unconfirmed.
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
