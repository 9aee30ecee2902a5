package node

import (
	"time"

	"sightglass/ingester/bitcoind"
)

// reach is what is known of the node's RPC, and what follows for what comes over ZMQ. It has no clock: every method
// takes the time.
//
// After a start, a reconnection or a restart of the node, transactions that come may be the node's old mempool, which it
// reads from its file. They are held (not believed to be new) until RPC has given the mempool. If RPC gives no usable
// answer for as long as withoutRPC says, the ingester goes on with ZMQ alone, as without --rpc. What was held until then
// is not passed on: which of it is new cannot be told, it is some 200 transactions on mainnet, and a node reads thousands
// from its file in that time. What comes later is believed, although a node that reads its file for longer than that
// still sends old transactions: they show the price of some hours ago, while no price at all would be shown otherwise.
//
// Where RPC stops while the ingester is in step, nothing is held: the link is up and the node is known to be the same.
type reach struct {
	wanted time.Time // since when an answer is wanted and none was usable; zero: none is wanted
	held   time.Time // since when transactions are held; zero: they are not
	alone  bool      // RPC was given up for now

	// Since when transactions, and blocks, that are asked for are not given for a reason that is about the node, such as a
	// whitelist that lacks a method; zero: they are given, or none are asked for.
	noBodies, noBlocks time.Time
}

// withoutRPC is how long RPC may give no usable answer: as long as bitcoind itself waits for a client
// (rpcservertimeout=), and longer than a node's restart takes to read the file of a usual mempool.
const withoutRPC = 30 * time.Second

// want notes that an answer is wanted.
func (r *reach) want(now time.Time) {
	if r.wanted.IsZero() {
		r.wanted = now
	}
}

// connected is called when the link is there. known says that messages of this node came before, so that its counters
// show whether it started again: then nothing needs to be held while RPC is given up, and a link that is lost over and
// over does not hold transactions for ever. Before that an RPC that says nothing is one of a node that is not there.
func (r *reach) connected(now time.Time, known bool) {
	switch {
	case !known && !r.alone:
		r.wanted, r.held = now, now
	case !known, r.held.IsZero() && !r.alone:
		r.held = now
	}
}

// restarted is called when the node has started again.
func (r *reach) restarted(now time.Time) { r.held = now }

// starting notes that RPC answers that the node is starting, or still reads its mempool: what it sends is old, however
// long this takes.
func (r *reach) starting(now time.Time) { *r = reach{wanted: now, held: now} }

// answered notes that RPC gave the list that is wanted. What the list calls for may still be refused.
func (r *reach) answered() {
	if r.alone {
		*r = reach{}
		return
	}
	*r = reach{noBodies: r.noBodies, noBlocks: r.noBlocks}
}

// given notes what came of a question about transactions or blocks, in noBodies or noBlocks.
func given(since *time.Time, err error, now time.Time) {
	switch {
	case err == nil, bitcoind.AboutOne(err):
		*since = time.Time{}
	case since.IsZero():
		*since = now
	}
}

// lacking reports whether RPC gives lists, and for limit has not given what they call for. Nothing is held then, and
// what comes over ZMQ counts; the rest is asked for again and again.
func (r *reach) lacking(now time.Time, limit time.Duration) bool {
	over := func(since time.Time) bool { return !since.IsZero() && now.Sub(since) >= limit }
	return !r.alone && r.wanted.IsZero() && (over(r.noBodies) || over(r.noBlocks))
}

// holds reports whether transactions that come are not believed to be new.
func (r *reach) holds() bool { return !r.held.IsZero() }

// pass is called as time passes. It reports whether RPC was given up just now.
func (r *reach) pass(now time.Time, limit time.Duration) (givenUp bool) {
	if !r.alone && !r.wanted.IsZero() && now.Sub(r.wanted) >= limit {
		r.alone, givenUp = true, true
	}
	if r.alone && r.holds() && now.Sub(r.held) >= limit {
		r.held = time.Time{}
	}
	return givenUp
}
