package node

import (
	"errors"
	"slices"
	"time"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/zmqsub"
)

// advice is what an operator was told, or may have to be told, of the node's settings.
type advice struct {
	unclear    []string  // topics that the node publishes at another port, which may be mapped to ours
	since      time.Time // when that was learned
	blocksOnly bool      // the node takes no transactions from its peers
}

// answered takes in what came with the node's list.
func (n *Node) applyNodeInfo(l list, now time.Time) {
	clear(n.sync.logged)
	n.markRPCUsable()
	c := &n.chain
	if l.published != nil {
		c.published = l.published
		n.warnOfTopics(now)
	}
	switch {
	case l.networkErr != nil:
		n.logOnce(l.networkErr) // only advice depends on it
	case l.network != nil:
		n.warnOfRelay(l.network.Relay)
	}
	if c.network != l.chain.Network {
		c.network = l.chain.Network
		n.log.Info("the node's chain", "network", c.network, "blocks", l.chain.Blocks)
		if c.network != mainnet {
			n.log.Warn("a price means something on mainnet only: on this network coins are given away", "network", c.network)
		}
	}
	if behind := l.chain.InitialBlockDownload; behind != c.initialDownload {
		c.initialDownload = behind
		n.log.Info("initial block download", "running", behind, "blocks", l.chain.Blocks, "headers", l.chain.Headers)
	}
	if c.initialDownload {
		n.sync.schedule(now.Add(downloadPollInterval))
	}
}

// mainnet is what bitcoind calls it.
const mainnet = "main"

// behindEvery is how often a node that catches up is asked whether it has.
const downloadPollInterval = 10 * time.Second

// A Place is where a node publishes a topic, as seen from our endpoints.
type Place uint8

// The places. A port may be mapped between the node and us (docker -p, ssh -L), so an endpoint of ours whose port the
// node does not name may be any of its addresses.
const (
	Nowhere   Place = iota // the node does not publish the topic
	Here                   // at an endpoint of ours
	Elsewhere              // at an address of its own, and each endpoint of ours is another one that it names
	Unclear                // at an address that no endpoint of ours has, and one of ours is none that the node names
)

// PlaceOf tells where a topic is published, and the node's own name of the address.
func PlaceOf(topic string, published []bitcoind.Notification, endpoints []string) (place Place, address string) {
	named := func(endpoint string) bool {
		return slices.ContainsFunc(published, func(p bitcoind.Notification) bool { return zmqsub.SamePlace(endpoint, p.Address) })
	}
	for _, p := range published {
		if p.Topic != topic {
			continue
		}
		place, address = Elsewhere, p.Address
		if slices.ContainsFunc(endpoints, func(endpoint string) bool { return zmqsub.SamePlace(endpoint, p.Address) }) {
			return Here, p.Address
		}
	}
	if place == Elsewhere && !allOf(endpoints, named) {
		place = Unclear
	}
	return place, address
}

func allOf(list []string, holds func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !holds(s) })
}

// publishes reports whether the node says that it publishes a topic where we listen. False proves nothing: see Unclear.
func (n *Node) publishes(topic string) bool {
	place, _ := PlaceOf(topic, n.chain.published, n.opts.ZMQ)
	return place == Here
}

// warnOfTopics says which setting of the node, or which endpoint of ours, is missing.
func (n *Node) warnOfTopics(now time.Time) {
	n.advice.unclear = nil
	for _, topic := range []string{TopicRawTx, TopicSequence} {
		switch place, address := PlaceOf(topic, n.chain.published, n.opts.ZMQ); place {
		case Nowhere:
			n.log.Warn("the node does not publish a topic: add it to bitcoin.conf and restart the node",
				"missing", topic, "setting", "zmqpub"+topic+"="+n.opts.ZMQ[0])
		case Elsewhere:
			n.log.Warn("the node publishes a topic at an address that is not in --zmq: add it there", "missing", topic, "address", address)
		case Unclear:
			n.advice.unclear = append(n.advice.unclear, topic)
			n.advice.since = now
		case Here:
		}
	}
}

// unclearFor is how long a topic whose place is Unclear may be silent while the other one comes. On mainnet each comes
// several times a second.
const unclearTimeout = time.Minute

// watchTopics warns of topics that are published elsewhere after all: they do not come, and the other one does.
func (n *Node) checkTopics(now time.Time) {
	if len(n.advice.unclear) == 0 || len(n.link.topics) == 0 || now.Sub(n.advice.since) < unclearTimeout {
		return
	}
	for _, topic := range n.advice.unclear {
		if _, heard := n.link.topics[topic]; heard {
			continue
		}
		_, address := PlaceOf(topic, n.chain.published, n.opts.ZMQ)
		n.log.Warn("nothing comes of a topic that the node publishes at another port than those of --zmq: add its address there, or the port that is mapped to it",
			"missing", topic, "address", address)
	}
	n.advice.unclear = nil
}

// warnOfRelay says that the node has no mempool to read.
func (n *Node) warnOfRelay(relay bool) {
	if !relay && !n.advice.blocksOnly {
		n.log.Warn("the node takes no transactions from its peers, so its mempool stays empty and there is no live price: take blocksonly=1 out of bitcoin.conf and restart the node")
	}
	n.advice.blocksOnly = !relay
}

// watchLinks keeps the metric of the endpoints.
func (n *Node) reportLinks() {
	for _, link := range n.listener.Links() {
		up := 0.
		if link.Up {
			up = 1
		}
		n.metrics.endpoints.WithLabelValues(link.Endpoint).Set(up)
	}
}

// Links reports how the connection to each endpoint is. It may be called from anywhere.
func (n *Node) Links() []zmqsub.Link { return n.listener.Links() }

// isStarting reports whether an error is a node's that has only begun.
func isStarting(err error) bool { return errors.Is(err, bitcoind.ErrWarmingUp) }
