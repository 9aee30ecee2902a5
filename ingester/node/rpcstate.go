package node

import (
	"time"

	"sightglass/ingester/bitcoind"
)

// rpcState tracks whether the node's RPC works, and whether transactions that come over ZMQ count as new. It has no
// clock: every method takes the time.
//
// After a start, a reconnection or a restart of the node, incoming transactions may be the node's old mempool, which it
// loads from its file. They are deferred (not counted as new) until RPC has returned the mempool. If RPC fails for as
// long as Options.ZMQOnlyAfter says, the ingester continues with ZMQ alone, as without --rpc. Transactions deferred
// until then are dropped: new and old ones cannot be distinguished. On mainnet about 200 new ones come in that time,
// and a node loads thousands from its file. Later transactions count as new, although a node that loads its file for
// longer still publishes old ones: they show the price of some hours ago, where otherwise there would be no price at
// all.
//
// If RPC stops while the ingester is in sync, nothing is deferred: ZMQ is connected, and to the same run of the node.
type rpcState struct {
	requestedSince time.Time // since when a response is needed and none was usable; zero: none is needed
	deferringSince time.Time // since when transactions are deferred; zero: they are not
	zmqOnly        bool      // RPC has failed for too long

	// Since when transactions, and blocks, cannot be fetched for a reason that is about the node, such as a whitelist that
	// lacks a method; zero: they can, or none are needed.
	bodiesFailingSince, blocksFailingSince time.Time
}

// defaultZMQOnlyAfter is as long as bitcoind itself waits for a client (rpcservertimeout=), and longer than a restarted
// node takes to load a usual mempool.
const defaultZMQOnlyAfter = 30 * time.Second

// request records that a response is needed.
func (r *rpcState) request(now time.Time) {
	if r.requestedSince.IsZero() {
		r.requestedSince = now
	}
}

// connected is called when a ZMQ connection is up. known says that messages of this node came before, so that its
// counters show a restart: then nothing needs to be deferred while RPC is down, and a connection that is lost again and
// again does not defer transactions for ever. Without such messages, an RPC that does not respond belongs to a node
// that is down.
func (r *rpcState) connected(now time.Time, known bool) {
	switch {
	case !known && !r.zmqOnly:
		r.requestedSince, r.deferringSince = now, now
	case !known, r.deferringSince.IsZero() && !r.zmqOnly:
		r.deferringSince = now
	}
}

// restarted is called when the node has restarted.
func (r *rpcState) restarted(now time.Time) { r.deferringSince = now }

// starting records RPC's response that the node is starting or still loads its mempool: its messages are old, however
// long the load lasts.
func (r *rpcState) starting(now time.Time) { *r = rpcState{requestedSince: now, deferringSince: now} }

// responded records that RPC returned the mempool's list. Fetching the transactions on the list may still fail.
func (r *rpcState) responded() {
	if r.zmqOnly {
		*r = rpcState{}
		return
	}
	*r = rpcState{bodiesFailingSince: r.bodiesFailingSince, blocksFailingSince: r.blocksFailingSince}
}

// noteFetch records the result of fetching transactions or blocks, in bodiesFailingSince or blocksFailingSince.
func noteFetch(failingSince *time.Time, err error, now time.Time) {
	switch {
	case err == nil, bitcoind.AboutOne(err):
		*failingSince = time.Time{}
	case failingSince.IsZero():
		*failingSince = now
	}
}

// fetchFails reports whether RPC returns lists, but for limit not the transactions or blocks on them. Then nothing is
// deferred: transactions received over ZMQ count, and the others are requested again and again. While the next list is
// requested, it remains what it was before.
func (r *rpcState) fetchFails(before bool, now time.Time, limit time.Duration) bool {
	over := func(since time.Time) bool { return !since.IsZero() && now.Sub(since) >= limit }
	listed := before || r.requestedSince.IsZero()
	return !r.zmqOnly && listed && (over(r.bodiesFailingSince) || over(r.blocksFailingSince))
}

// defers reports whether incoming transactions do not count as new.
func (r *rpcState) defers() bool { return !r.deferringSince.IsZero() }

// tick advances the time. It returns true when RPC has just failed for limit.
func (r *rpcState) tick(now time.Time, limit time.Duration) (failed bool) {
	if !r.zmqOnly && !r.requestedSince.IsZero() && now.Sub(r.requestedSince) >= limit {
		r.zmqOnly, failed = true, true
	}
	if r.zmqOnly && r.defers() && now.Sub(r.deferringSince) >= limit {
		r.deferringSince = time.Time{}
	}
	return failed
}
