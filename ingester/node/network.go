package node

import (
	"slices"
	"time"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/zmqsub"
)

// advice is the state of the log's advice about the node's settings.
type advice struct {
	unclear    []string  // topics that the node publishes at another port, which may be mapped to ours
	since      time.Time // when that was learned
	blocksOnly bool      // the node accepts no transactions from its peers
}

// applyNodeInfo applies the chain and the settings that were fetched with the node's list.
func (t *tracker) applyNodeInfo(l list, now time.Time) {
	clear(t.sync.logged)
	t.markRPCUsable()
	c := &t.chain
	if l.published != nil {
		c.published = l.published
		t.warnOfTopics(now)
	}
	switch {
	case l.networkErr != nil:
		t.logOnce(l.networkErr) // only advice depends on it
	case l.network != nil:
		t.warnOfRelay(l.network.Relay)
	}
	if c.network != l.chain.Network {
		c.network = l.chain.Network
		t.log.Info("the node's chain", "network", c.network, "blocks", l.chain.Blocks)
		if c.network != mainnet {
			t.log.Warn("the price is meaningful on mainnet only: coins of this network have no value", "network", c.network)
		}
	}
	if behind := l.chain.InitialBlockDownload; behind != c.initialDownload {
		c.initialDownload = behind
		t.log.Info("initial block download", "running", behind, "blocks", l.chain.Blocks, "headers", l.chain.Headers)
	}
	if c.initialDownload {
		t.sync.schedule(now.Add(downloadPollInterval))
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
func (t *tracker) publishes(topic string) bool {
	place, _ := PlaceOf(topic, t.chain.published, t.opts.ZMQ)
	return place == Here
}

// warnOfTopics logs which setting of the node, or which endpoint of ours, is missing.
func (t *tracker) warnOfTopics(now time.Time) {
	t.advice.unclear = nil
	for _, topic := range []string{TopicRawTx, TopicSequence} {
		switch place, address := PlaceOf(topic, t.chain.published, t.opts.ZMQ); place {
		case Nowhere:
			t.log.Warn("bitcoind does not publish a topic: add the setting to bitcoin.conf and restart bitcoind",
				"missing", topic, "setting", "zmqpub"+topic+"="+t.opts.ZMQ[0])
		case Elsewhere:
			t.log.Warn("bitcoind publishes a topic at an address that is not in --zmq: add the address", "missing", topic, "address", address)
		case Unclear:
			t.advice.unclear = append(t.advice.unclear, topic)
			t.advice.since = now
		case Here:
		}
	}
}

// unclearTimeout is how long a topic whose place is Unclear may be missing while the other one comes. On mainnet each
// comes several times a second.
const unclearTimeout = time.Minute

// checkTopics warns of Unclear topics that do not come while the other one does: they are published elsewhere.
func (t *tracker) checkTopics(now time.Time) {
	if len(t.advice.unclear) == 0 || len(t.link.topics) == 0 || now.Sub(t.advice.since) < unclearTimeout {
		return
	}
	for _, topic := range t.advice.unclear {
		if _, received := t.link.topics[topic]; received {
			continue
		}
		_, address := PlaceOf(topic, t.chain.published, t.opts.ZMQ)
		t.log.Warn("no messages of a topic that bitcoind publishes at a port that is not in --zmq: add its address, or the port that is mapped to it",
			"missing", topic, "address", address)
	}
	t.advice.unclear = nil
}

// warnOfRelay warns of a node that relays no transactions: its mempool stays empty.
func (t *tracker) warnOfRelay(relay bool) {
	if !relay && !t.advice.blocksOnly {
		t.log.Warn("bitcoind accepts no transactions from its peers, so its mempool stays empty and there is no live price: remove blocksonly=1 from bitcoin.conf and restart bitcoind")
	}
	t.advice.blocksOnly = !relay
}
