package ingester

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/node"
	"sightglass/ingester/publish"
	"sightglass/ingester/zmqsub"
)

// Verdict is how good a Finding is.
type Verdict string

// The verdicts.
const (
	Good Verdict = "good"
	Poor Verdict = "poor" // it works, and something will be lost
	Bad  Verdict = "bad"  // it does not work
)

// A Finding is one thing that Probe has tried, and what to do about it.
type Finding struct {
	Verdict Verdict
	Subject string // redis, rpc, zmq, ...
	Text    string
}

// probeTimeout is how long one thing may take to answer.
const probeTimeout = 5 * time.Second

// Probe tries the node and Redis as an ingester with these options would use them, and changes neither.
func Probe(ctx context.Context, o Options) []Finding {
	listened := make(chan heard, 1)
	go func() { listened <- listen(ctx, o.ZMQ) }()
	var p probe
	p.redis(ctx, o)
	published := p.rpc(ctx, o)
	h := <-listened
	p.zmq(h)
	p.topics(o, published, h)
	return p.findings
}

type probe struct{ findings []Finding }

func (p *probe) say(v Verdict, subject, format string, args ...any) {
	p.findings = append(p.findings, Finding{v, subject, fmt.Sprintf(format, args...)})
}

func (p *probe) redis(ctx context.Context, o Options) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	client, err := o.OpenRedis(redisName)
	if err != nil {
		p.say(Bad, "redis", "%v", err)
		return
	}
	defer client.Close()
	if err := publish.Try(ctx, client); err != nil {
		p.say(Bad, "redis", "%v", err)
		return
	}
	p.say(Good, "redis", "it answers, and takes snapshots from this user")
	switch err := publish.CheckEviction(ctx, client); {
	case errors.Is(err, publish.ErrEvicts):
		p.say(Poor, "redis", "%v", err)
	case err != nil:
		p.say(Poor, "redis", "whether it evicts keys when its memory is full cannot be known; maxmemory-policy must be noeviction: %v", err)
	default:
		p.say(Good, "redis", "it evicts no keys")
	}
}

// rpc gives what the node publishes, or nil if it does not tell.
func (p *probe) rpc(ctx context.Context, o Options) []bitcoind.Notification {
	if o.RPC == "" {
		p.say(Poor, "rpc", "not set: the start is slow, and what is lost on the way stays lost; --rpc http://127.0.0.1:8332 --rpc-cookie PATH")
		return nil
	}
	settings := o.rpc()
	settings.Timeout = probeTimeout
	client, err := bitcoind.New(settings)
	if err != nil {
		p.say(Bad, "rpc", "%v", err)
		return nil
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	access, err := client.Access(ctx)
	switch {
	case err != nil:
		p.say(Bad, "rpc", "%v", err)
		return nil
	case access.All:
		p.say(Bad, "rpc", "the node refuses every call (HTTP 403): its rpcallowip= must cover this machine's address, and if it has an rpcwhitelist=, bitcoin.conf wants the line rpcwhitelist=%s; restart the node then",
			bitcoind.Whitelist(access.User))
		return nil
	}
	p.access(access)
	p.network(ctx, client, access)
	p.chain(ctx, client, access)
	if !access.Allows("getzmqnotifications") {
		return nil
	}
	published, err := client.Notifications(ctx)
	if err != nil {
		p.say(Bad, "rpc", "%v", err)
		return nil
	}
	if published == nil {
		published = []bitcoind.Notification{}
	}
	return published
}

// access names the calls that the node does not carry out.
func (p *probe) access(access bitcoind.Access) {
	if len(access.Missing) > 0 {
		p.say(Bad, "rpc", "the node lacks %s: it is too old, or built without what the method is about, such as ZMQ", strings.Join(access.Missing, ", "))
	}
	if len(access.Refused) > 0 {
		p.say(Bad, "rpcwhitelist", "the node refuses %s (HTTP 403): bitcoin.conf wants the line rpcwhitelist=%s; restart the node then",
			strings.Join(access.Refused, ", "), bitcoind.Whitelist(access.User))
		return
	}
	p.say(Good, "rpcwhitelist", "every call that an ingester makes is allowed to user %s", access.User)
}

func (p *probe) network(ctx context.Context, client *bitcoind.Client, access bitcoind.Access) {
	if !access.Allows("getnetworkinfo") {
		return
	}
	network, err := client.Network(ctx)
	if err != nil {
		p.say(Bad, "rpc", "%v", err)
		return
	}
	p.say(Good, "rpc", "%s answers", network.Version)
	if !network.Relay {
		p.say(Bad, "blocksonly", "the node takes no transactions from its peers, so its mempool stays empty and there is no live price: take blocksonly=1 out of bitcoin.conf and restart the node")
	}
}

func (p *probe) chain(ctx context.Context, client *bitcoind.Client, access bitcoind.Access) {
	if !access.Allows("getblockchaininfo") {
		return
	}
	c, err := client.Chain(ctx)
	if err != nil {
		p.say(Bad, "chain", "%v", err)
		return
	}
	if c.Network != "main" {
		p.say(Poor, "chain", "%s: a price means something on mainnet only", c.Network)
	}
	if c.InitialBlockDownload {
		p.say(Poor, "chain", "initial block download, at block %d of %d: no price until it is done", c.Blocks, c.Headers)
		return
	}
	p.say(Good, "chain", "%s, at block %d", c.Network, c.Blocks)
}

// heard is what came of listening.
type heard struct {
	links  []zmqsub.Link
	topics map[string]bool
	err    error
}

// listen listens to the endpoints until all topics have come, for probeTimeout at most.
func listen(ctx context.Context, endpoints []string) (h heard) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	h.links, h.topics, h.err = zmqsub.Try(ctx, endpoints, []string{node.TopicRawTx, node.TopicSequence})
	return h
}

// connected reports whether a connection was there to an endpoint for which something holds.
func (h heard) connected(holds func(endpoint string) bool) bool {
	return slices.ContainsFunc(h.links, func(l zmqsub.Link) bool { return l.Up && holds(l.Endpoint) })
}

func (p *probe) zmq(h heard) {
	if h.err != nil {
		p.say(Bad, "zmq", "%v", h.err)
	}
	for _, link := range h.links {
		if err := link.Error(); err != nil {
			p.say(Bad, "zmq", "%v: is the node running, with zmqpubrawtx= and zmqpubsequence= in bitcoin.conf?", err)
			continue
		}
		p.say(Good, "zmq", "%s is connected, at %s", link.Endpoint, link.Address)
	}
}

const (
	// adviceHighWater is how many messages the node should keep for us: as many as our own side does.
	adviceHighWater = zmqsub.HighWater
	// enoughHighWater is how many it must keep: a block brings all of its transactions at once, and 4,000,000 units of
	// weight hold 16,000 of the smallest (about 240 units each).
	enoughHighWater = 20_000
)

// topics compares what the node publishes with what we listen to, and with what came. Published is nil if the node does
// not tell.
func (p *probe) topics(o Options, published []bitcoind.Notification, h heard) {
	for _, topic := range []string{node.TopicRawTx, node.TopicSequence} {
		setting := "zmqpub" + topic
		if published == nil {
			p.unasked(setting, h.topics[topic], h)
			continue
		}
		place, address := node.PlaceOf(topic, published, o.ZMQ)
		if !p.place(setting, place, address, o, h.topics[topic], h) {
			continue
		}
		first := firstAt(published, address)
		if first.HighWater < enoughHighWater && first.HighWater != 0 {
			p.say(Poor, setting, "the node keeps %d messages for us and drops the rest, as a block brings thousands at once: zmqpub%shwm=%d in bitcoin.conf",
				first.HighWater, first.Topic, adviceHighWater)
			continue
		}
		switch {
		case place != node.Here:
			p.say(Good, setting, "it comes; the node publishes it at %s, another port than those of --zmq: a mapped one, as with docker -p or ssh -L", address)
		case h.topics[topic]:
			p.say(Good, setting, "published at %s, and it comes", address)
		default:
			p.say(Good, setting, "published at %s; nothing of it came within %v, which is usual on a test network alone", address, probeTimeout)
		}
	}
}

// unasked judges a topic of a node that does not tell what it publishes. Where nothing is connected, that was said.
func (p *probe) unasked(setting string, comes bool, h heard) {
	switch {
	case comes:
		p.say(Good, setting, "it comes")
	case h.connected(func(string) bool { return true }):
		p.say(Poor, setting, "nothing of it came within %v, and the node does not say whether it publishes it: on mainnet that wants %s= in bitcoin.conf", probeTimeout, setting)
	}
}

// place says what is wrong with where a topic is published, and reports whether that is nothing.
func (p *probe) place(setting string, place node.Place, address string, o Options, comes bool, h heard) bool {
	here := func(endpoint string) bool { return zmqsub.SamePlace(endpoint, address) }
	all := strings.Join(o.ZMQ, ",")
	switch {
	case place == node.Nowhere && comes:
		p.say(Poor, setting, "it comes, and the node at --rpc does not publish it: are --zmq and --rpc of two nodes?")
	case place == node.Nowhere:
		p.say(Bad, setting, "the node does not publish it: %s=%s in bitcoin.conf, and restart the node", setting, o.ZMQ[0])
	case comes:
		return true
	case place == node.Here && !h.connected(here):
		p.say(Bad, setting, "the node publishes it at %s, and there is no connection to that port of --zmq %s", address, all)
	case place == node.Here:
		return true
	case place == node.Elsewhere:
		p.say(Bad, setting, "the node publishes it at %s, which is not in --zmq %s", address, all)
	case !h.connected(func(string) bool { return true }):
		p.say(Bad, setting, "the node publishes it at %s, and nothing of --zmq %s is connected", address, all)
	default:
		p.say(Poor, setting, "the node publishes it at %s, a port that is not in --zmq %s, and nothing of it came within %v: add the address there, unless the port is mapped (docker -p, ssh -L) and the network is quiet",
			address, all, probeTimeout)
	}
	return false
}

// firstAt gives the notification whose high-water mark counts: those with one address share one socket, and bitcoind
// sets it up for the first of them in alphabetical order.
func firstAt(published []bitcoind.Notification, address string) (first bitcoind.Notification) {
	for _, n := range published {
		if n.Address == address && (first.Topic == "" || n.Topic < first.Topic) {
			first = n
		}
	}
	return first
}

var errProbe = errors.New("not everything works")

// Report writes the findings a line each, and fails if one is Bad.
func Report(findings []Finding, print func(string)) error {
	bad := 0
	for _, f := range findings {
		print(fmt.Sprintf("%-4s  %-14s %s", f.Verdict, f.Subject, f.Text))
		if f.Verdict == Bad {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%w: %d of %d are bad", errProbe, bad, len(findings))
	}
	return nil
}
