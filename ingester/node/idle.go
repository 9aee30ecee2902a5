package node

import (
	"context"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/bitcoind"
)

func (n *Node) noteActivity(m *message) {
	if n.link.idle || len(n.link.topics) == 0 {
		n.link.idle = false
		n.log.Info("receiving messages from bitcoind")
	}
	n.link.lastMessage = m.at
	n.link.topics[m.topic] = struct{}{}
}

// checkIdle detects a connection that is dead without an error, as after a firewall has dropped its state, and replaces
// the socket. A node may also be idle, which RPC shows.
func (n *Node) checkIdle(now time.Time) {
	switch idle := now.Sub(n.link.lastMessage) > n.opts.IdleTimeout; {
	case n.link.oneTopicDead():
		n.log.Warn("messages of one topic stopped: replacing the ZMQ socket")
		n.reconnect(now)
	case idle && !n.hasRPC():
		n.warnIdle("no messages from bitcoind: is it running, with zmqpubrawtx and zmqpubsequence at this address?", now)
		n.reconnect(now)
	case idle && n.link.verifying: // one request at a time, however slow the response
	case idle:
		n.link.lastMessage = now // verify once per IdleTimeout
		n.verify()
	case n.rpc != nil && !n.hasSequence() && !n.sync.fetching && n.sync.due.IsZero() && now.Sub(n.sync.lastList) > n.opts.IdleTimeout:
		n.resync(whyPoll, now) // nothing else reports removals
	}
}

// oneTopicDead reports whether one of the two topics has stopped: each transaction of the mempool comes on both.
func (l *link) oneTopicDead() bool {
	return len(l.topics) == 2 && (l.withoutBody > maxUnpaired || l.withoutAdd > maxUnpaired)
}

// maxUnpaired is far more than a queue that overflows loses of one topic alone.
const maxUnpaired = 1000

func (n *Node) warnIdle(why string, now time.Time) {
	n.link.lastMessage = now
	if !n.link.idle {
		n.link.idle = true
		n.log.Warn(why, "after", n.opts.IdleTimeout)
	}
}

// reconnect replaces the socket. When it is connected, what was missed is fetched.
func (n *Node) reconnect(now time.Time) {
	n.metrics.renewals.Inc()
	n.link = link{lastMessage: now, idle: n.link.idle, topics: make(map[string]struct{})}
	n.assembler.finish()
	n.sync.inSync = false
	n.setConnected(false)
	n.listener.Reconnect()
}

// verify asks RPC whether the mempool and the chain are as known here. If they are not, messages were lost.
func (n *Node) verify() {
	lastMessage := n.link.lastMessage
	n.link.verifying = true
	n.sync.rpc.request(lastMessage)
	n.async(func(ctx context.Context) func() {
		list, err := n.rpc.Mempool(ctx)
		var chain bitcoind.Chain
		if err == nil {
			chain, err = n.rpc.Chain(ctx)
		}
		return func() {
			now := time.Now()
			n.link.verifying = false
			if err != nil {
				n.logOnce(err)
				n.resync(whySilence, now) // so that it is known when RPC works again
				return
			}
			if n.sync.inSync && !n.sync.fetching && n.sync.due.IsZero() {
				n.markRPCUsable() // no list is needed besides
			}
			switch {
			case !n.link.lastMessage.Equal(lastMessage):
				// A message came meanwhile.
			case n.sync.inSync && list.Sequence == n.pool.next && n.chain.knows(chain.Best):
				n.log.Debug("bitcoind is idle, and its mempool has not changed")
			default:
				n.warnIdle("the node's mempool or chain changed without a message: replacing the ZMQ socket", now)
				n.reconnect(now)
				n.resync(whySilence, now)
			}
		}
	})
}

// knows reports whether a block was processed, or may still be reached by the running walk.
func (c *chain) knows(block chainhash.Hash) bool {
	_, done := c.processed[block]
	return done || c.walk.active
}
