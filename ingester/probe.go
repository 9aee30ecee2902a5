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

// Verdict is the result of a check.
type Verdict string

// The verdicts.
const (
	Good Verdict = "good"
	Poor Verdict = "poor" // it works with limits
	Bad  Verdict = "bad"  // it does not work
)

// A Finding is the result of one check, and what to do about it.
type Finding struct {
	Verdict Verdict
	Subject string // redis, rpc, zmq, ...
	Text    string
}

// probeTimeout bounds each check.
const probeTimeout = 5 * time.Second

// Probe checks the node and Redis as an ingester with these options would use them, and changes neither.
func Probe(ctx context.Context, o Options) []Finding {
	if o.Peers.On {
		var p probe
		p.redis(ctx, o)
		p.say(Poor, "peers", "no node to check: transactions come from peers, and are not validated here; see docs/security.md")
		return p.findings
	}
	listened := make(chan received, 1)
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

// redis reports nothing for a program with a Redis of its own.
func (p *probe) redis(ctx context.Context, o Options) {
	if o.Redis == "" {
		return
	}
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
	p.say(Good, "redis", "it responds, and accepts snapshots from this user")
	switch err := publish.CheckEviction(ctx, client); {
	case errors.Is(err, publish.ErrEvicts):
		p.say(Poor, "redis", "%v", err)
	case err != nil:
		p.say(Poor, "redis", "cannot check whether it evicts keys when its memory is full; maxmemory-policy must be noeviction: %v", err)
	default:
		p.say(Good, "redis", "it evicts no keys")
	}
}

// rpc returns what the node publishes, or nil if the node does not say.
func (p *probe) rpc(ctx context.Context, o Options) []bitcoind.Notification {
	if o.RPC == "" {
		p.say(Poor, "rpc", "not set: the window starts empty, and lost messages are not recovered; set --rpc http://127.0.0.1:8332 --rpc-cookie PATH")
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
		p.say(Bad, "rpc", "bitcoind forbids every call (HTTP 403): its rpcallowip= must cover this machine's address, and if it has an rpcwhitelist=, bitcoin.conf needs the line rpcwhitelist=%s; then restart bitcoind",
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

// access reports the calls that the node does not allow.
func (p *probe) access(access bitcoind.Access) {
	if len(access.Missing) > 0 {
		p.say(Bad, "rpc", "bitcoind lacks %s: it is too old, or built without the feature, such as ZMQ", strings.Join(access.Missing, ", "))
	}
	if len(access.Forbidden) > 0 {
		p.say(Bad, "rpcwhitelist", "bitcoind forbids %s (HTTP 403): bitcoin.conf needs the line rpcwhitelist=%s; then restart bitcoind",
			strings.Join(access.Forbidden, ", "), bitcoind.Whitelist(access.User))
		return
	}
	p.say(Good, "rpcwhitelist", "user %s may make every call of the ingester", access.User)
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
	p.say(Good, "rpc", "%s responds", network.Version)
	if !network.Relay {
		p.say(Bad, "blocksonly", "bitcoind accepts no transactions from its peers, so its mempool stays empty and there is no live price: remove blocksonly=1 from bitcoin.conf and restart bitcoind")
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
		p.say(Poor, "chain", "%s: the price is meaningful on mainnet only", c.Network)
	}
	if c.InitialBlockDownload {
		p.say(Poor, "chain", "initial block download, at block %d of %d: no price until it is complete", c.Blocks, c.Headers)
		return
	}
	p.say(Good, "chain", "%s, at block %d", c.Network, c.Blocks)
}

// received is the result of listening to ZMQ.
type received struct {
	links  []zmqsub.Link
	topics map[string]bool
	err    error
}

// listen listens to the endpoints until a message of every topic has come, for probeTimeout at most.
func listen(ctx context.Context, endpoints []string) (h received) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	h.links, h.topics, h.err = zmqsub.Try(ctx, endpoints, []string{node.TopicRawTx, node.TopicSequence})
	return h
}

// connected reports whether an endpoint that satisfies holds was connected.
func (h received) connected(holds func(endpoint string) bool) bool {
	return slices.ContainsFunc(h.links, func(l zmqsub.Link) bool { return l.Up && holds(l.Endpoint) })
}

func (p *probe) zmq(h received) {
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
	// adviceHighWater is how many messages the node should queue for the ingester: as many as the ingester itself does.
	adviceHighWater = zmqsub.HighWater
	// enoughHighWater is how many it must queue: a block brings all of its transactions at once, and 4,000,000 units of
	// weight hold 16,000 of the smallest (about 240 units each).
	enoughHighWater = 20_000
)

// topics compares what the node publishes with --zmq and with the received messages. published is nil if the node does
// not say.
func (p *probe) topics(o Options, published []bitcoind.Notification, h received) {
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
			p.say(Poor, setting, "bitcoind queues %d messages for the ingester and drops the rest, and a block brings thousands at once: set zmqpub%shwm=%d in bitcoin.conf",
				first.HighWater, first.Topic, adviceHighWater)
			continue
		}
		switch {
		case place != node.Here:
			p.say(Good, setting, "received; bitcoind publishes it at %s, a port that is not in --zmq: a mapped one, as with docker -p or ssh -L", address)
		case h.topics[topic]:
			p.say(Good, setting, "published at %s, and received", address)
		default:
			p.say(Good, setting, "published at %s; no message within %v, which is usual only on a test network", address, probeTimeout)
		}
	}
}

// unasked reports on a topic of a node that does not say what it publishes. If nothing is connected, zmq has reported that.
func (p *probe) unasked(setting string, comes bool, h received) {
	switch {
	case comes:
		p.say(Good, setting, "received")
	case h.connected(func(string) bool { return true }):
		p.say(Poor, setting, "no message within %v, and bitcoind does not say whether it publishes the topic: on mainnet add %s= to bitcoin.conf", probeTimeout, setting)
	}
}

// place reports what is wrong with the address of a topic, and returns true if nothing is.
func (p *probe) place(setting string, place node.Place, address string, o Options, comes bool, h received) bool {
	here := func(endpoint string) bool { return zmqsub.SamePlace(endpoint, address) }
	all := strings.Join(o.ZMQ, ",")
	switch {
	case place == node.Nowhere && comes:
		p.say(Poor, setting, "received, but the node at --rpc does not publish it: are --zmq and --rpc of two nodes?")
	case place == node.Nowhere:
		p.say(Bad, setting, "bitcoind does not publish it: add %s=%s to bitcoin.conf and restart bitcoind", setting, o.ZMQ[0])
	case comes:
		return true
	case place == node.Here && !h.connected(here):
		p.say(Bad, setting, "bitcoind publishes it at %s, and there is no connection to that port of --zmq %s", address, all)
	case place == node.Here:
		return true
	case place == node.Elsewhere:
		p.say(Bad, setting, "bitcoind publishes it at %s, which is not in --zmq %s", address, all)
	case !h.connected(func(string) bool { return true }):
		p.say(Bad, setting, "bitcoind publishes it at %s, and no endpoint of --zmq %s is connected", address, all)
	default:
		p.say(Poor, setting, "bitcoind publishes it at %s, a port that is not in --zmq %s, and no message was received within %v: add the address, unless the port is mapped (docker -p, ssh -L) and the network is quiet",
			address, all, probeTimeout)
	}
	return false
}

// firstAt returns the notification whose high-water mark applies: topics at one address share one socket, and bitcoind
// sets it up for the first of them in alphabetical order.
func firstAt(published []bitcoind.Notification, address string) (first bitcoind.Notification) {
	for _, n := range published {
		if n.Address == address && (first.Topic == "" || n.Topic < first.Topic) {
			first = n
		}
	}
	return first
}

var errProbe = errors.New("the probe failed")

// Report prints the findings, a line each, and returns an error if one is Bad.
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
