package node

import (
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

func (t *tracker) noteActivity(m *message) {
	if t.link.idle || len(t.link.topics) == 0 {
		t.link.idle = false
		t.log.Info("receiving messages from bitcoind")
	}
	t.link.lastMessage = m.at
	t.link.topics[m.topic] = struct{}{}
}

// checkIdle detects a connection that is dead without an error, as after a firewall has dropped its state, and replaces
// the socket. A node may also be idle, which RPC shows.
func (t *tracker) checkIdle(now time.Time) {
	switch idle := now.Sub(t.link.lastMessage) > t.opts.IdleTimeout; {
	case t.link.oneTopicDead():
		t.log.Warn("messages of one topic stopped: replacing the ZMQ socket")
		t.reconnect(now)
	case idle && !t.hasRPC():
		t.warnIdle("no messages from bitcoind: is it running, with zmqpubrawtx and zmqpubsequence at this address?", now)
		t.reconnect(now)
	case idle && t.link.verifying: // one request at a time, however slow the response
	case idle:
		t.link.lastMessage = now // verify once per IdleTimeout
		t.verify()
	case t.withRPC && !t.hasSequence() && !t.sync.fetching && t.sync.due.IsZero() && now.Sub(t.sync.lastList) > t.opts.IdleTimeout:
		t.resync(whyPoll, now) // nothing else reports removals
	}
}

// oneTopicDead reports whether one of the two topics has stopped: each transaction of the mempool comes on both.
func (l *link) oneTopicDead() bool {
	return len(l.topics) == 2 && (l.withoutBody > maxUnpaired || l.withoutAdd > maxUnpaired)
}

// maxUnpaired is far more than a queue that overflows loses of one topic alone.
const maxUnpaired = 1000

func (t *tracker) warnIdle(why string, now time.Time) {
	t.link.lastMessage = now
	if !t.link.idle {
		t.link.idle = true
		t.log.Warn(why, "after", t.opts.IdleTimeout)
	}
}

// reconnect replaces the socket. After the connection, missed messages are fetched.
func (t *tracker) reconnect(now time.Time) {
	t.metrics.renewals.Inc()
	t.link = link{lastMessage: now, idle: t.link.idle, topics: make(map[string]struct{})}
	t.assembler.finish()
	t.sync.inSync = false
	t.out.reconnect = true
}

// verify requests from RPC whether the mempool and the chain are as known here. If they are not, messages were lost.
func (t *tracker) verify() {
	t.link.verifying = true
	t.sync.rpc.request(t.link.lastMessage)
	t.request(idleRequest{lastMessage: t.link.lastMessage})
}

func (t *tracker) applyIdle(r idleRequest, sequence uint64, tip chainhash.Hash, err error, now time.Time) {
	t.link.verifying = false
	if err != nil {
		t.logOnce(err)
		t.resync(whySilence, now) // so that it is known when RPC works again
		return
	}
	if t.sync.inSync && !t.sync.fetching && t.sync.due.IsZero() {
		t.markRPCUsable() // no list is needed besides
	}
	switch {
	case !t.link.lastMessage.Equal(r.lastMessage):
		// A message came meanwhile.
	case t.sync.inSync && sequence == t.pool.next && t.chain.knows(tip):
		t.log.Debug("bitcoind is idle, and its mempool has not changed")
	default:
		t.warnIdle("the node's mempool or chain changed without a message: replacing the ZMQ socket", now)
		t.reconnect(now)
		t.resync(whySilence, now)
	}
}

// knows reports whether a block was processed, or may still be reached by the running walk.
func (c *chain) knows(block chainhash.Hash) bool {
	_, done := c.processed[block]
	return done || c.walk != nil
}
