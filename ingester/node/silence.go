package node

import (
	"context"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/bitcoind"
)

func (n *Node) notSilent(m *message) {
	if n.link.silent || len(n.link.topics) == 0 {
		n.link.silent = false
		n.log.Info("the node is talking")
	}
	n.link.heard = m.at
	n.link.topics[m.topic] = struct{}{}
}

// watchSilence notices a link that is dead without an error, as after a firewall forgot it, and has it made anew. A
// network may be quiet, too: RPC knows.
func (n *Node) watchSilence(now time.Time) {
	switch quiet := now.Sub(n.link.heard) > n.opts.Quiet; {
	case n.link.halfDead():
		n.log.Warn("the node tells of one topic and not of the other")
		n.renew(now)
	case quiet && !n.hasRPC():
		n.silent("nothing from the node: is it running, with zmqpubrawtx and zmqpubsequence at this address?", now)
		n.renew(now)
	case quiet && n.link.auditing: // one question at a time, however slow the answer
	case quiet:
		n.link.heard = now // asked once in a while
		n.audit()
	case n.rpc != nil && !n.sequenced() && !n.sync.asking && n.sync.due.IsZero() && now.Sub(n.sync.done) > n.opts.Quiet:
		n.resync(whyPoll, now) // removals are told by nothing else
	}
}

// halfDead reports whether one of two topics has stopped coming: each transaction of the mempool is told on both.
func (l *link) halfDead() bool {
	return len(l.topics) == 2 && (l.bodiless > mostUnpaired || l.untold > mostUnpaired)
}

// mostUnpaired is far more than a queue that runs over loses of one topic alone.
const mostUnpaired = 1000

func (n *Node) silent(why string, now time.Time) {
	n.link.heard = now
	if !n.link.silent {
		n.link.silent = true
		n.log.Warn(why, "after", n.opts.Quiet)
	}
}

// renew has the socket made anew, and whatever was missed meanwhile asked for when it is connected.
func (n *Node) renew(now time.Time) {
	n.metrics.renewals.Inc()
	n.link = link{heard: now, silent: n.link.silent, topics: make(map[string]struct{})}
	n.run.end()
	n.sync.inStep = false
	n.setConnected(false)
	n.listener.Renew()
}

// audit asks whether the mempool and the chain are where we think they are. If they are not, nobody told us.
func (n *Node) audit() {
	heard := n.link.heard
	n.link.auditing = true
	n.sync.reach.want(heard)
	n.question(func(ctx context.Context) func() {
		list, err := n.rpc.Mempool(ctx)
		var chain bitcoind.Chain
		if err == nil {
			chain, err = n.rpc.Chain(ctx)
		}
		return func() {
			now := time.Now()
			n.link.auditing = false
			if err != nil {
				n.complain(err)
				n.resync(whySilence, now) // so that it is known when RPC answers again
				return
			}
			if n.sync.inStep && !n.sync.asking && n.sync.due.IsZero() {
				n.rpcAnswers() // no list is wanted beside
			}
			switch {
			case !n.link.heard.Equal(heard):
				// It spoke while it was asked.
			case n.sync.inStep && list.Sequence == n.pool.next && n.chain.knows(chain.Best):
				n.log.Debug("the node is quiet, and so is its mempool")
			default:
				n.silent("the node's mempool or chain has changed and nobody told: making the connection anew", now)
				n.renew(now)
				n.resync(whySilence, now)
			}
		}
	})
}

// knows reports whether a block is one that came, or that a walk that is not over may have yet to come to.
func (c *chain) knows(block chainhash.Hash) bool {
	_, done := c.done[block]
	return done || c.walk.active
}
