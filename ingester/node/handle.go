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

func (t *tracker) handle(m zmqsub.Message) {
	switch m.Kind {
	case zmqsub.Up:
		t.link.up++
		t.log.Info("connected to bitcoind", "endpoint", m.Endpoint, "address", m.Address)
		if t.withRPC { // the node may have just started and send its old mempool
			t.sync.rpc.connected(m.At, t.counters[TopicRawTx].started || t.counters[TopicSequence].started)
		}
		t.resync(whyConnected, m.At)
	case zmqsub.Down:
		t.link.up = max(0, t.link.up-1)
		t.sync.inSync = false
		t.assembler.finish()
		t.log.Warn("lost the connection to bitcoind; reconnecting", "endpoint", m.Endpoint, "address", m.Address)
	case zmqsub.Data:
		t.handleNotification(m)
	}
}

// handleNotification handles a notification. A malformed one is counted and skipped.
func (t *tracker) handleNotification(raw zmqsub.Message) {
	m, err := decode(raw.Frames)
	m.at = raw.At
	if m.topic != "" && !t.checkCounter(&m, raw.Frames[1]) { // of a malformed one too: it did arrive
		t.metrics.repeated.WithLabelValues(m.topic).Inc()
		return
	}
	if err != nil {
		t.metrics.badMessages.WithLabelValues(reason(err)).Inc()
		if m.topic == TopicRawTx { // it may belong to a block, or be its coinbase: treated as lost
			t.assembler.complete = false
			t.assembler.ambiguous = t.withRPC && t.hasSequence()
		}
		t.logLimit.Do(func() { t.log.Warn("skipped a malformed message", "err", err) })
		return
	}
	t.metrics.messages.WithLabelValues(m.topic).Inc()
	t.metrics.lastMessage[m.topic].Set(float64(m.at.UnixMilli()) / 1000)
	t.noteActivity(&m)
	if m.topic == TopicSequence {
		t.assembler.ambiguous = false
	}
	switch m.letter {
	case 0:
		t.handleTransaction(&m)
	case transcript.Added:
		t.handleAdded(&m)
	case transcript.Removed:
		t.handleRemoved(&m)
	case transcript.Connected:
		t.handleConnected(&m)
	case transcript.Disconnected:
		t.handleDisconnected(&m)
	}
}

// checkCounter tracks a topic's counter. It returns false for a repeated message.
func (t *tracker) checkCounter(m *message, body []byte) bool {
	if c := t.counters[m.topic]; m.topic == TopicSequence && !c.started {
		t.resync(whyConnected, m.at) // no counter shows blocks that were lost before the first message of this topic
	}
	verdict, missing := t.counters[m.topic].check(m.counter, body)
	switch verdict {
	case repeated:
		return false
	case restarted:
		t.handleRestart(m)
	case gap:
		t.metrics.missed.WithLabelValues(m.topic).Add(float64(missing))
		t.logLimit.Do(func() {
			t.log.Warn("messages from bitcoind were lost", "topic", m.topic, "missed", missing)
		})
		t.handleGap(m)
	}
	return true
}

// handleGap recovers from lost messages before m. The A of a lost transaction shows that its body is missing. A block
// lost as a whole shows only in the node's chain, so the chain is fetched with the list.
func (t *tracker) handleGap(m *message) {
	t.assembler.complete = false
	t.assembler.ambiguous = m.topic == TopicRawTx && t.hasRPC() && t.hasSequence()
	if m.topic == TopicSequence || !t.hasSequence() {
		t.sync.inSync = false
	}
	t.resync(whyGap, m.at)
}

// handleRestart handles the first message of a restarted node. The node loads its mempool from a file and publishes all
// of it as new, so no transaction counts as new until RPC says that the load is complete.
func (t *tracker) handleRestart(m *message) {
	t.log.Info("bitcoind restarted", "topic", m.topic)
	t.metrics.restarts.Inc()
	for topic, c := range t.counters {
		if topic != m.topic {
			*c = counter{}
		}
	}
	t.assembler.finish()
	t.sync.cancel()
	t.sync.restarted = true
	if !t.withRPC {
		t.pool.reset()
		return
	}
	t.pool.next = 0
	t.sync.rpc.restarted(m.at)
	t.resync(whyRestart, m.at)
}

// hasSequence reports whether the node publishes the topic sequence, as far as known.
func (t *tracker) hasSequence() bool {
	return t.counters[TopicSequence].started || t.publishes(TopicSequence)
}

// handleTransaction handles a rawtx: of the mempool, or of a block.
func (t *tracker) handleTransaction(m *message) {
	switch {
	case rawtx.IsCoinbase(m.tx) && t.hasSequence():
		t.abandonBlock(m.at)
		t.assembler.start(m)
	case t.assembler.open:
		if t.assembler.add(m); len(t.assembler.ids) > maxBlockTransactions {
			t.abandonBlock(m.at)
		}
	default:
		t.deliverUnconfirmed(m.id, m.tx, m.at)
	}
}

// deliverUnconfirmed delivers a transaction that is not part of a block.
func (t *tracker) deliverUnconfirmed(id chainhash.Hash, tx *wire.MsgTx, at time.Time) {
	if t.sync.rpc.defers() || t.hasRPC() && (t.chain.initialDownload || t.assembler.ambiguous) {
		t.metrics.deferred.Inc() // if it is in the mempool, the backfill fetches it with its entry time
		return
	}
	t.link.withoutAdd++
	t.pool.markReceived(id)
	t.emit(Event{Kind: Seen, ID: id, Tx: tx, At: at, Received: at})
}

func (t *tracker) handleAdded(m *message) {
	if t.assembler.open { // no A comes inside a block: its C was lost
		tx := t.assembler.removeLast(m.id)
		t.abandonBlock(m.at)
		if tx != nil {
			t.deliverUnconfirmed(m.id, tx, m.at)
		}
	}
	delete(t.chain.orphans, m.id)
	delete(t.chain.vanished, m.id)
	t.sync.record(m, nil)
	t.sync.highest = max(t.sync.highest, m.number)
	t.link.withoutAdd = 0
	if !t.pool.add(m.id, m.number) {
		t.handleStaleChange(m)
		return
	}
	if !t.pool.isMissing(m.id) {
		t.link.withoutBody = 0
		return
	}
	if !t.sync.rpc.defers() {
		t.link.withoutBody++
	}
	if t.hasRPC() { // otherwise the next list shows that it is missing
		t.backfill.add(m.id)
	}
}

func (t *tracker) handleRemoved(m *message) {
	delete(t.chain.vanished, m.id)
	t.sync.record(m, nil)
	t.sync.highest = max(t.sync.highest, m.number)
	if !t.pool.remove(m.id, m.number) {
		t.handleStaleChange(m)
		if t.pool.entries[m.id].pooled {
			return // it has entered the mempool again since; with two endpoints its second rawtx may have come before
		}
		t.pool.delete(m.id) // if it enters again, its body is fetched
	}
	t.emit(Event{Kind: Gone, ID: m.id, At: m.at, Received: m.at})
}

// checkBlockTimeout abandons a block whose C or D does not come.
func (t *tracker) checkBlockTimeout(now time.Time) {
	if t.assembler.open && now.Sub(t.assembler.lastReceived) > assemblerTimeout {
		t.abandonBlock(now)
	}
}

// assemblerTimeout is long: the C follows the transactions at once.
const assemblerTimeout = 2 * time.Second

// abandonBlock closes a block whose C or D was lost, or comes by another endpoint and is still to come. With RPC the
// block is fetched: the loss of its C may show in no counter. Without RPC, or if the topic sequence does not come at
// all, its transactions are treated as unconfirmed.
func (t *tracker) abandonBlock(now time.Time) {
	if !t.assembler.open {
		return
	}
	ids, txs, _ := t.assembler.finish()
	t.resync(whyBlocks, now)
	if t.hasRPC() && t.counters[TopicSequence].started {
		return
	}
	for i, tx := range txs {
		t.deliverUnconfirmed(ids[i], tx, t.assembler.lastReceived)
	}
}
