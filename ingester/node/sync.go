package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/transcript"
)

// syncer tracks whether our view of the mempool is known to equal the node's.
type syncer struct {
	inSync       bool
	restarted    bool // the next list is the first of a restarted node: what it lacks was not removed, as the node's file may be old or lost
	rpc          rpcState
	due          time.Time // when the node's list is to be fetched; zero: not
	lastList     time.Time // when it was last fetched
	fetching     bool
	request      int      // counts the requests, so that an outdated response is recognised
	changes      []change // received since the request
	before       position // the pool's position at the request
	listSequence uint64   // the number that follows the list
	highest      uint64   // the highest number received

	unexplainedSince time.Time           // since when numbers of the mempool are unexplained
	logged           map[string]struct{} // errors that were logged since the last success
}

// A change is a message of the topic sequence, as the pool applies it.
type change struct {
	letter    byte
	id        chainhash.Hash
	number    uint64
	confirmed []chainhash.Hash // of a block
}

const (
	// minListInterval is the least time between two lists of the mempool, which are expensive for the node.
	minListInterval = 500 * time.Millisecond
	// retryDelay is the pause after a failed request. With the client's own tries the node is called every few seconds.
	retryDelay = time.Second
	// maxChanges bounds the changes kept during a request: at a hundred times mainnet's rate a response that takes
	// longer than these do is of no use.
	maxChanges = 500_000
)

// resync schedules a request for the node's list.
func (n *Node) resync(why string, now time.Time) {
	if n.rpc == nil {
		return
	}
	n.metrics.resyncs.WithLabelValues(why).Inc()
	n.sync.rpc.request(now)
	n.sync.schedule(now)
}

// hasRPC reports whether RPC is configured and works. While it does not, the Node behaves as without --rpc, except that
// it goes on requesting the list.
func (n *Node) hasRPC() bool { return n.rpc != nil && !n.sync.rpc.zmqOnly }

func (s *syncer) schedule(at time.Time) {
	if at.Before(s.lastList.Add(minListInterval)) {
		at = s.lastList.Add(minListInterval)
	}
	if s.due.IsZero() || at.Before(s.due) || s.due.Before(s.lastList.Add(minListInterval)) {
		s.due = at
	}
}

// cancel drops a pending request.
func (s *syncer) cancel() {
	s.request++
	s.fetching, s.changes = false, nil
	s.inSync, s.highest, s.listSequence = false, 0, 0
}

// record keeps a change while a list that may lack it is being fetched.
func (s *syncer) record(m *message, confirmed []chainhash.Hash) {
	if !s.fetching {
		return
	}
	if len(s.changes) >= maxChanges {
		s.cancel()
		s.schedule(m.at)
		return
	}
	s.changes = append(s.changes, change{letter: m.letter, id: m.id, number: m.number, confirmed: slices.Clone(confirmed)})
}

// startRequests starts the requests that are due, one of each kind at a time.
func (n *Node) startRequests() {
	if n.rpc == nil {
		return
	}
	now := time.Now()
	if s := &n.sync; !s.fetching && !s.due.IsZero() && !now.Before(s.due) {
		n.requestList(now)
	}
	n.requestWalkStep(now)
	n.requestBodies(now)
}

// list is the node's mempool, and what else is needed with it.
type list struct {
	bitcoind.Mempool
	loaded    bool
	chain     bitcoind.Chain
	published []bitcoind.Notification

	network    *bitcoind.Network // nil if it was not fetched
	networkErr error
}

func (n *Node) requestList(now time.Time) {
	s := &n.sync
	s.request++
	s.fetching, s.due, s.changes = true, time.Time{}, nil
	s.rpc.request(now)
	request, withSettings := s.request, n.chain.published == nil || s.rpc.defers()
	s.before = n.pool.position()
	n.pool.startSnapshot()
	n.async(func(ctx context.Context) func() {
		l, err := n.fetchList(ctx, withSettings)
		return func() {
			if request == n.sync.request {
				n.applyList(l, err)
			}
		}
	})
}

// fetchList fetches the chain last, so that the tip is no older than the list.
func (n *Node) fetchList(ctx context.Context, withSettings bool) (l list, err error) {
	if l.loaded, err = n.rpc.MempoolLoaded(ctx); err != nil || !l.loaded {
		return l, err // an incomplete list is of no use
	}
	if l.Mempool, err = n.rpc.Mempool(ctx); err != nil {
		return l, err
	}
	if l.chain, err = n.rpc.Chain(ctx); err != nil {
		return l, err
	}
	if withSettings {
		l.published, err = n.rpc.Notifications(ctx)
		l.published = append([]bitcoind.Notification{}, l.published...) // an empty list is a result, too
		var network bitcoind.Network
		if network, l.networkErr = n.rpc.Network(ctx); l.networkErr == nil { // only advice depends on it
			l.network = &network
		}
	}
	return l, err
}

// applyList sets the pool to the node's list and applies what came since.
func (n *Node) applyList(l list, err error) {
	s, now := &n.sync, time.Now()
	changes := s.changes
	s.fetching, s.changes, s.lastList = false, nil, now
	if !s.due.IsZero() {
		s.schedule(s.due) // not sooner than minListInterval from now
	}
	if err != nil {
		n.logOnce(err)
		if errors.Is(err, bitcoind.ErrWarmingUp) {
			n.markRPCUsable()
			s.rpc.starting(now)
		}
		s.schedule(retryTime(now))
		return
	}
	if !l.loaded {
		n.markRPCUsable()
		s.rpc.starting(now)
		s.schedule(now.Add(retryDelay))
		return
	}
	n.applyNodeInfo(l, now)
	s.listSequence = l.Sequence
	unlisted, d := n.pool.replace(l.IDs, l.Sequence)
	if !s.restarted && s.before.contradicts(l.Sequence, d, changes) {
		n.log.Info("bitcoind restarted while disconnected")
		n.metrics.restarts.Inc()
		s.restarted, s.highest = true, 0
		for _, c := range n.counters {
			*c = counter{}
		}
	}
	n.pool.apply(newerThan(changes, l.Sequence))
	if removed := n.pool.removeAbsent(unlisted); !s.restarted {
		for _, id := range removed {
			n.chain.vanished[id] = struct{}{}
		}
	}
	s.restarted = false
	missing := n.backfill.start(&n.pool, now)
	n.chain.walk = walk{next: l.chain.Best, active: true}
	first := !s.inSync
	s.inSync, s.unexplainedSince = true, time.Time{}
	n.metrics.inSync.Set(1)
	if first || missing > 0 {
		n.log.Info("in sync with the node's mempool", "transactions", n.pool.size, "sequence", n.pool.next,
			"missing", missing, "vanished", len(n.chain.vanished))
	}
}

// newerThan omits the changes that a list already includes. A block's change has no number, but removing absent
// transactions does no harm: it is omitted only if a numbered change after it shows that it is older.
func newerThan(changes []change, number uint64) []change {
	for i := len(changes) - 1; i >= 0; i-- {
		if c := changes[i]; c.confirmed == nil && c.number < number {
			return changes[i+1:]
		}
	}
	return changes
}

// apply applies changes again.
func (p *pool) apply(changes []change) {
	for _, c := range changes {
		switch c.letter {
		case transcript.Added:
			p.add(c.id, c.number)
		case transcript.Removed:
			p.remove(c.id, c.number)
		default:
			p.confirm(c.confirmed)
		}
	}
}

// caughtUp reports whether messages from now on are surely newer than the list. RPC responses may overtake ZMQ
// messages.
func (s *syncer) caughtUp() bool { return s.highest+1 >= s.listSequence }

// handleStaleChange handles a change with an outdated number: one before the list, which is normal, or one after it,
// which means that our count of the numbers that blocks took is wrong.
func (n *Node) handleStaleChange(m *message) {
	if n.sync.inSync && m.number >= n.sync.listSequence {
		n.log.Warn("the mempool's sequence went back: fetching the mempool again", "number", m.number, "expected", n.pool.next)
		n.sync.inSync = false
		n.resync(whyDrift, m.at)
	}
}

// checkSequence allows numbers of the mempool that no message had some time to be explained by a block, and then takes
// them for lost.
func (n *Node) checkSequence(now time.Time) {
	s := &n.sync
	switch {
	case !s.inSync || s.fetching || len(n.chain.changes) > 0 || n.pool.unexplained == 0:
		s.unexplainedSince = time.Time{}
	case s.unexplainedSince.IsZero():
		s.unexplainedSince = now
	case now.Sub(s.unexplainedSince) > explainTimeout:
		n.log.Warn("messages about changes of the mempool were lost", "missed", n.pool.unexplained)
		n.metrics.missed.WithLabelValues(missedChanges).Add(float64(n.pool.unexplained))
		s.inSync = false
		n.resync(whyMempool, now)
	}
	if !s.inSync {
		n.metrics.inSync.Set(0)
	}
}

// explainTimeout: the C of a block comes within milliseconds of the removals for it, unless the node is very busy.
const explainTimeout = time.Second

// checkRPC continues with ZMQ alone if RPC has failed for too long.
func (n *Node) checkRPC(now time.Time) {
	if n.rpc == nil {
		return
	}
	r := &n.sync.rpc
	if n.backfill.idle() {
		r.bodiesFailingSince = time.Time{} // none are needed
	}
	if !n.chain.walk.active {
		r.blocksFailingSince = time.Time{}
	}
	failed, failedBefore := r.tick(now, n.opts.ZMQOnlyAfter), n.fetchFails
	n.fetchFails = r.fetchFails(now, n.opts.ZMQOnlyAfter)
	n.setZMQOnly(r.zmqOnly || n.fetchFails)
	switch {
	case n.fetchFails && !failedBefore:
		n.log.Warn("bitcoind's RPC does not return the transactions or blocks that are needed: continuing with what comes over ZMQ until it does; checkconfig --probe tries every call",
			"after", n.opts.ZMQOnlyAfter)
	case failedBefore && !n.fetchFails && !r.zmqOnly && r.requestedSince.IsZero():
		n.log.Info("bitcoind's RPC returns transactions and blocks again")
	}
	if failed {
		n.log.Warn("bitcoind's RPC is not usable: continuing with ZMQ alone, as without --rpc, until it works; checkconfig --probe tries every call",
			"after", n.opts.ZMQOnlyAfter)
	}
}

// markRPCUsable records that RPC returned the mempool's list.
func (n *Node) markRPCUsable() {
	if n.sync.rpc.zmqOnly {
		n.log.Info("bitcoind's RPC works again")
	}
	n.sync.rpc.answered()
	n.setZMQOnly(n.fetchFails)
}

// logOnce logs an error of RPC, each text once until RPC works again.
func (n *Node) logOnce(err error) {
	n.metrics.failures.Inc()
	text := err.Error()
	if _, logged := n.sync.logged[text]; logged || n.ctx.Err() != nil || len(n.sync.logged) >= maxLoggedErrors {
		return
	}
	n.sync.logged[text] = struct{}{}
	n.log.Warn("an RPC request to bitcoind failed", "err", err)
}

// maxLoggedErrors bounds what is logged of one outage.
const maxLoggedErrors = 20

// retryTime returns when to try again: up to half of retryDelay later, so that many ingesters do not try at once.
func retryTime(now time.Time) time.Time { return now.Add(retryDelay + rand.N(retryDelay/2)) }
