package node

import (
	"slices"
	"time"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/zmqsub"
)

// advice is what the log has said, or may have to say, about the node's settings.
type advice struct {
	unclear    []string  // topics that the node publishes at another port, which may be mapped to ours
	since      time.Time // when that was learned
	blocksOnly bool      // the node accepts no transactions from its peers
}

// applyNodeInfo applies what was fetched with the node's list.
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
			n.log.Warn("the price is meaningful on mainnet only: coins of this network have no value", "network", c.network)
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

// mainnet is bitcoind's name for it.
const mainnet = "main"

// downloadPollInterval is how often a node in its initial block download is polled.
const downloadPollInterval = 10 * time.Second

// A Place is where a node publishes a topic, relative to our endpoints.
type Place uint8

// The places. A port may be mapped between the node and the ingester (docker -p, ssh -L), so an endpoint of ours whose
// port the node does not report may be any of its addresses.
const (
	Nowhere   Place = iota // the node does not publish the topic
	Here                   // at an endpoint of ours
	Elsewhere              // at an address of its own; every endpoint of ours is another address that it reports
	Unclear                // at an address that matches no endpoint of ours, while one of ours matches no address that it reports
)

// PlaceOf returns where a topic is published, and the address that the node reports.
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
	if place == Elsewhere && slices.ContainsFunc(endpoints, func(endpoint string) bool { return !named(endpoint) }) {
		place = Unclear
	}
	return place, address
}

// publishes reports whether the node says that it publishes a topic at an endpoint of ours. False proves nothing: see
// Unclear.
func (n *Node) publishes(topic string) bool {
	place, _ := PlaceOf(topic, n.chain.published, n.opts.ZMQ)
	return place == Here
}

// warnOfTopics logs which setting of the node, or which endpoint of ours, is missing.
func (n *Node) warnOfTopics(now time.Time) {
	n.advice.unclear = nil
	for _, topic := range []string{TopicRawTx, TopicSequence} {
		switch place, address := PlaceOf(topic, n.chain.published, n.opts.ZMQ); place {
		case Nowhere:
			n.log.Warn("bitcoind does not publish a topic: add the setting to bitcoin.conf and restart bitcoind",
				"missing", topic, "setting", "zmqpub"+topic+"="+n.opts.ZMQ[0])
		case Elsewhere:
			n.log.Warn("bitcoind publishes a topic at an address that is not in --zmq: add the address", "missing", topic, "address", address)
		case Unclear:
			n.advice.unclear = append(n.advice.unclear, topic)
			n.advice.since = now
		case Here:
		}
	}
}

// unclearTimeout is how long a topic whose place is Unclear may be missing while the other one comes. On mainnet each
// comes several times a second.
const unclearTimeout = time.Minute

// checkTopics warns of Unclear topics that do not come while the other one does: they are published elsewhere.
func (n *Node) checkTopics(now time.Time) {
	if len(n.advice.unclear) == 0 || len(n.link.topics) == 0 || now.Sub(n.advice.since) < unclearTimeout {
		return
	}
	for _, topic := range n.advice.unclear {
		if _, received := n.link.topics[topic]; received {
			continue
		}
		_, address := PlaceOf(topic, n.chain.published, n.opts.ZMQ)
		n.log.Warn("no messages of a topic that bitcoind publishes at a port that is not in --zmq: add its address, or the port that is mapped to it",
			"missing", topic, "address", address)
	}
	n.advice.unclear = nil
}

// warnOfRelay warns of a node that relays no transactions: its mempool stays empty.
func (n *Node) warnOfRelay(relay bool) {
	if !relay && !n.advice.blocksOnly {
		n.log.Warn("bitcoind accepts no transactions from its peers, so its mempool stays empty and there is no live price: remove blocksonly=1 from bitcoin.conf and restart bitcoind")
	}
	n.advice.blocksOnly = !relay
}

// reportLinks updates the metric of the endpoints.
func (n *Node) reportLinks() {
	for _, link := range n.listener.Links() {
		n.metrics.endpoints.WithLabelValues(link.Endpoint).Set(oneIf(link.Up))
	}
}

// Links returns the state of the connection to each endpoint. It is safe for concurrent use.
func (n *Node) Links() []zmqsub.Link { return n.listener.Links() }
