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
		n.log.Info("the node is talking")
	}
	n.link.lastMessage = m.at
	n.link.topics[m.topic] = struct{}{}
}

// watchSilence notices a link that is dead without an error, as after a firewall forgot it, and has it made anew. A
// network may be quiet, too: RPC knows.
func (n *Node) checkIdle(now time.Time) {
	switch quiet := now.Sub(n.link.lastMessage) > n.opts.IdleTimeout; {
	case n.link.oneTopicDead():
		n.log.Warn("the node tells of one topic and not of the other")
		n.reconnect(now)
	case quiet && !n.hasRPC():
		n.warnIdle("nothing from the node: is it running, with zmqpubrawtx and zmqpubsequence at this address?", now)
		n.reconnect(now)
	case quiet && n.link.verifying: // one question at a time, however slow the answer
	case quiet:
		n.link.lastMessage = now // asked once in a while
		n.verify()
	case n.rpc != nil && !n.hasSequence() && !n.sync.fetching && n.sync.due.IsZero() && now.Sub(n.sync.lastList) > n.opts.IdleTimeout:
		n.resync(whyPoll, now) // removals are told by nothing else
	}
}

// halfDead reports whether one of two topics has stopped coming: each transaction of the mempool is told on both.
func (l *link) oneTopicDead() bool {
	return len(l.topics) == 2 && (l.withoutBody > maxUnpaired || l.withoutAdd > maxUnpaired)
}

// mostUnpaired is far more than a queue that runs over loses of one topic alone.
const maxUnpaired = 1000

func (n *Node) warnIdle(why string, now time.Time) {
	n.link.lastMessage = now
	if !n.link.idle {
		n.link.idle = true
		n.log.Warn(why, "after", n.opts.IdleTimeout)
	}
}

// renew has the socket made anew, and whatever was missed meanwhile asked for when it is connected.
func (n *Node) reconnect(now time.Time) {
	n.metrics.renewals.Inc()
	n.link = link{lastMessage: now, idle: n.link.idle, topics: make(map[string]struct{})}
	n.assembler.finish()
	n.sync.inSync = false
	n.setConnected(false)
	n.listener.Renew()
}

// audit asks whether the mempool and the chain are where we think they are. If they are not, nobody told us.
func (n *Node) verify() {
	heard := n.link.lastMessage
	n.link.verifying = true
	n.sync.rpc.request(heard)
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
				n.resync(whySilence, now) // so that it is known when RPC answers again
				return
			}
			if n.sync.inSync && !n.sync.fetching && n.sync.due.IsZero() {
				n.markRPCUsable() // no list is wanted beside
			}
			switch {
			case !n.link.lastMessage.Equal(heard):
				// It spoke while it was asked.
			case n.sync.inSync && list.Sequence == n.pool.next && n.chain.knows(chain.Best):
				n.log.Debug("the node is quiet, and so is its mempool")
			default:
				n.warnIdle("the node's mempool or chain has changed and nobody told: making the connection anew", now)
				n.reconnect(now)
				n.resync(whySilence, now)
			}
		}
	})
}

// knows reports whether a block is one that came, or that a walk that is not over may have yet to come to.
func (c *chain) knows(block chainhash.Hash) bool {
	_, done := c.processed[block]
	return done || c.walk.active
}
