package node

import (
	"errors"
	"slices"
	"time"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/zmqsub"
)

// answered takes in what came with the node's list.
func (n *Node) answered(l list, now time.Time) {
	clear(n.sync.told)
	n.rpcAnswers()
	c := &n.chain
	if l.published != nil {
		c.published = l.published
		n.warnOfTopics()
	}
	if c.network != l.chain.Network {
		c.network = l.chain.Network
		n.log.Info("the node's chain", "network", c.network, "blocks", l.chain.Blocks)
		if c.network != mainnet {
			n.log.Warn("a price means something on mainnet only: on this network coins are given away", "network", c.network)
		}
	}
	if behind := l.chain.InitialBlockDownload; behind != c.behind {
		c.behind = behind
		n.log.Info("initial block download", "running", behind, "blocks", l.chain.Blocks, "headers", l.chain.Headers)
	}
	if c.behind {
		n.sync.want(now.Add(behindEvery))
	}
}

// mainnet is what bitcoind calls it.
const mainnet = "main"

// behindEvery is how often a node that catches up is asked whether it has.
const behindEvery = 10 * time.Second

// publishes reports whether the node says that it publishes a topic where we listen.
func (n *Node) publishes(topic string) bool {
	return slices.ContainsFunc(n.chain.published, func(p bitcoind.Notification) bool {
		here := func(endpoint string) bool { return zmqsub.SamePlace(endpoint, p.Address) }
		return p.Topic == topic && slices.ContainsFunc(n.opts.ZMQ, here)
	})
}

// warnOfTopics says which setting of the node is missing.
func (n *Node) warnOfTopics() {
	for _, topic := range []string{TopicRawTx, TopicSequence} {
		if !n.publishes(topic) {
			n.log.Warn("the node does not publish a topic at an address of --zmq: add it to bitcoin.conf and restart the node, or give its address",
				"missing", topic, "setting", "zmqpub"+topic+"="+n.opts.ZMQ[0])
		}
	}
}

// isStarting reports whether an error is a node's that has only begun.
func isStarting(err error) bool { return errors.Is(err, bitcoind.ErrWarmingUp) }
