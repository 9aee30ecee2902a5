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
	"sightglass/shared/redisurl"
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
	var p probe
	p.redis(ctx, o)
	published := p.rpc(ctx, o)
	p.zmq(ctx, o)
	if published != nil {
		p.topics(o, published)
	}
	return p.findings
}

type probe struct{ findings []Finding }

func (p *probe) say(v Verdict, subject, format string, args ...any) {
	p.findings = append(p.findings, Finding{v, subject, fmt.Sprintf(format, args...)})
}

func (p *probe) redis(ctx context.Context, o Options) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	client, err := redisurl.Open(o.Redis, o.redis())
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
	client, err := o.openRPC(nil)
	switch {
	case err != nil:
		p.say(Bad, "rpc", "%v", err)
		return nil
	case client == nil:
		p.say(Poor, "rpc", "not set: the start is slow, and what is lost on the way stays lost; --rpc http://127.0.0.1:8332 --rpc-cookie PATH")
		return nil
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	version, err := client.Version(ctx)
	if err != nil {
		p.say(Bad, "rpc", "%v", err)
		return nil
	}
	p.say(Good, "rpc", "%s answers", version)
	p.chain(ctx, client)
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

func (p *probe) chain(ctx context.Context, client *bitcoind.Client) {
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

func (p *probe) zmq(ctx context.Context, o Options) {
	for _, endpoint := range o.ZMQ {
		if err := zmqsub.Try(ctx, endpoint, probeTimeout); err != nil {
			p.say(Bad, "zmq", "%v", err)
			continue
		}
		p.say(Good, "zmq", "%s is connected", endpoint)
	}
}

// enoughHighWater is how many messages the node should keep for us: what two blocks bring at once.
const enoughHighWater = 10_000

// topics compares what the node publishes with what we listen to.
func (p *probe) topics(o Options, published []bitcoind.Notification) {
	for _, topic := range []string{node.TopicRawTx, node.TopicSequence} {
		setting := "zmqpub" + topic
		at := slices.IndexFunc(published, func(n bitcoind.Notification) bool { return n.Topic == topic })
		if at < 0 {
			p.say(Bad, setting, "the node does not publish it: %s=%s in bitcoin.conf, and restart the node", setting, o.ZMQ[0])
			continue
		}
		n := published[at]
		if !slices.ContainsFunc(o.ZMQ, func(endpoint string) bool { return zmqsub.SamePlace(endpoint, n.Address) }) {
			p.say(Bad, setting, "the node publishes it at %s, which is not in --zmq %s", n.Address, strings.Join(o.ZMQ, ","))
			continue
		}
		first := firstAt(published, n.Address)
		if first.HighWater < enoughHighWater && first.HighWater != 0 {
			p.say(Poor, setting, "the node keeps %d messages for us and drops the rest, as a block brings thousands at once: zmqpub%shwm=%d in bitcoin.conf",
				first.HighWater, first.Topic, enoughHighWater)
			continue
		}
		p.say(Good, setting, "published at %s", n.Address)
	}
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
