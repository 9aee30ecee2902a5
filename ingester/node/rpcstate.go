package node

import "time"

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
type rpcState struct {
	requestedSince time.Time // since when an answer is wanted and none was usable; zero: none is wanted
	deferringSince time.Time // since when transactions are held; zero: they are not
	zmqOnly        bool      // RPC was given up for now
}

// withoutRPC is how long RPC may give no usable answer: as long as bitcoind itself waits for a client
// (rpcservertimeout=), and longer than a node's restart takes to read the file of a usual mempool.
const defaultZMQOnlyAfter = 30 * time.Second

// want notes that an answer is wanted.
func (r *rpcState) request(now time.Time) {
	if r.requestedSince.IsZero() {
		r.requestedSince = now
	}
}

// connected is called when the link is there. known says that messages of this node came before, so that its counters
// show whether it started again: then nothing needs to be held while RPC is given up, and a link that is lost over and
// over does not hold transactions for ever. Before that an RPC that says nothing is one of a node that is not there.
func (r *rpcState) connected(now time.Time, known bool) {
	switch {
	case !known && !r.zmqOnly:
		r.requestedSince, r.deferringSince = now, now
	case !known, r.deferringSince.IsZero() && !r.zmqOnly:
		r.deferringSince = now
	}
}

// restarted is called when the node has started again.
func (r *rpcState) restarted(now time.Time) { r.deferringSince = now }

// starting notes that RPC answers that the node is starting, or still reads its mempool: what it sends is old, however
// long this takes.
func (r *rpcState) starting(now time.Time) { *r = rpcState{requestedSince: now, deferringSince: now} }

// answered notes that RPC gave all that is wanted.
func (r *rpcState) answered() { *r = rpcState{} }

// holds reports whether transactions that come are not believed to be new.
func (r *rpcState) defers() bool { return !r.deferringSince.IsZero() }

// pass is called as time passes. It reports whether RPC was given up just now.
func (r *rpcState) tick(now time.Time, limit time.Duration) (givenUp bool) {
	if !r.zmqOnly && !r.requestedSince.IsZero() && now.Sub(r.requestedSince) >= limit {
		r.zmqOnly, givenUp = true, true
	}
	if r.zmqOnly && r.defers() && now.Sub(r.deferringSince) >= limit {
		r.deferringSince = time.Time{}
	}
	return givenUp
}
