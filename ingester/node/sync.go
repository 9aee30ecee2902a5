package node

import (
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
func (t *tracker) resync(why string, now time.Time) {
	if !t.withRPC {
		return
	}
	t.metrics.resyncs.WithLabelValues(why).Inc()
	t.sync.rpc.request(now)
	t.sync.schedule(now)
}

// hasRPC reports whether RPC is configured and works. While it does not, the Node behaves as without --rpc, except that
// it goes on requesting the list.
func (t *tracker) hasRPC() bool { return t.withRPC && !t.sync.rpc.zmqOnly }

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
func (t *tracker) startRequests(now time.Time) {
	if !t.withRPC {
		return
	}
	if s := &t.sync; !s.fetching && !s.due.IsZero() && !now.Before(s.due) {
		t.requestList(now)
	}
	t.requestWalkStep(now)
	t.requestBodies(now)
}

func (t *tracker) requestList(now time.Time) {
	s := &t.sync
	s.request++
	s.fetching, s.due, s.changes = true, time.Time{}, nil
	s.rpc.request(now)
	s.before = t.pool.position()
	t.pool.startSnapshot()
	t.request(listRequest{number: s.request, withSettings: t.chain.published == nil || s.rpc.defers()})
}

// applyList sets the pool to the node's list and applies the changes received since the request.
func (t *tracker) applyList(l list, err error, now time.Time) {
	s := &t.sync
	changes := s.changes
	s.fetching, s.changes, s.lastList = false, nil, now
	if !s.due.IsZero() {
		s.schedule(s.due) // not sooner than minListInterval from now
	}
	if err != nil {
		t.logOnce(err)
		if errors.Is(err, bitcoind.ErrWarmingUp) {
			t.markRPCUsable()
			s.rpc.starting(now)
		}
		s.schedule(retryTime(now))
		return
	}
	if !l.loaded {
		t.markRPCUsable()
		s.rpc.starting(now)
		s.schedule(now.Add(retryDelay))
		return
	}
	t.applyNodeInfo(l, now)
	s.listSequence = l.Sequence
	unlisted, d := t.pool.replace(l.IDs, l.Sequence)
	if !s.restarted && s.before.contradicts(l.Sequence, d, changes) {
		t.log.Info("bitcoind restarted while disconnected")
		t.metrics.restarts.Inc()
		s.restarted, s.highest = true, 0
		for _, c := range t.counters {
			*c = counter{}
		}
	}
	t.pool.apply(newerThan(changes, l.Sequence))
	if removed := t.pool.removeAbsent(unlisted); !s.restarted {
		for _, id := range removed {
			t.chain.vanished[id] = struct{}{}
		}
	}
	s.restarted = false
	missing := t.backfill.start(&t.pool, now)
	t.chain.walk = &walk{next: l.chain.Best}
	first := !s.inSync
	s.inSync, s.unexplainedSince = true, time.Time{}
	if first || missing > 0 {
		t.log.Info("in sync with the node's mempool", "transactions", t.pool.size, "sequence", t.pool.next,
			"missing", missing, "vanished", len(t.chain.vanished))
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
func (t *tracker) handleStaleChange(m *message) {
	if t.sync.inSync && m.number >= t.sync.listSequence {
		t.log.Warn("the mempool's sequence went back: fetching the mempool again", "number", m.number, "expected", t.pool.next)
		t.sync.inSync = false
		t.resync(whyDrift, m.at)
	}
}

// checkSequence gives a block some time to explain numbers of the mempool that no message had. After that they count as
// lost.
func (t *tracker) checkSequence(now time.Time) {
	s := &t.sync
	switch {
	case !s.inSync || s.fetching || len(t.chain.changes) > 0 || t.pool.unexplained == 0:
		s.unexplainedSince = time.Time{}
	case s.unexplainedSince.IsZero():
		s.unexplainedSince = now
	case now.Sub(s.unexplainedSince) > explainTimeout:
		t.log.Warn("messages about changes of the mempool were lost", "missed", t.pool.unexplained)
		t.metrics.missed.WithLabelValues(missedChanges).Add(float64(t.pool.unexplained))
		s.inSync = false
		t.resync(whyMempool, now)
	}
}

// explainTimeout: the C of a block comes within milliseconds of the removals for it, unless the node is very busy.
const explainTimeout = time.Second

// checkRPC continues with ZMQ alone if RPC has failed for too long.
func (t *tracker) checkRPC(now time.Time) {
	if !t.withRPC {
		return
	}
	r := &t.sync.rpc
	if t.backfill.idle() {
		r.bodiesFailingSince = time.Time{} // none are needed
	}
	if t.chain.walk == nil {
		r.blocksFailingSince = time.Time{}
	}
	failed, failedBefore := r.tick(now, t.opts.ZMQOnlyAfter), t.fetchFails
	t.fetchFails = r.fetchFails(failedBefore, now, t.opts.ZMQOnlyAfter)
	switch {
	case t.fetchFails && !failedBefore:
		t.log.Warn("bitcoind's RPC does not return the transactions or blocks that are needed: relying on ZMQ until it does; checkconfig --probe tries every call",
			"after", t.opts.ZMQOnlyAfter)
	case failedBefore && !t.fetchFails && !r.zmqOnly && r.requestedSince.IsZero():
		t.log.Info("bitcoind's RPC returns transactions and blocks again")
	}
	if failed {
		t.log.Warn("bitcoind's RPC is not usable: continuing with ZMQ alone, as without --rpc, until it works; checkconfig --probe tries every call",
			"after", t.opts.ZMQOnlyAfter)
	}
}

// markRPCUsable records that RPC returned the mempool's list.
func (t *tracker) markRPCUsable() {
	if t.sync.rpc.zmqOnly {
		t.log.Info("bitcoind's RPC works again")
	}
	t.sync.rpc.responded()
}

// logOnce logs an error of RPC, each text once until RPC works again.
func (t *tracker) logOnce(err error) {
	t.metrics.failures.Inc()
	text := err.Error()
	if _, logged := t.sync.logged[text]; logged || len(t.sync.logged) >= maxLoggedErrors {
		return
	}
	t.sync.logged[text] = struct{}{}
	t.log.Warn("an RPC request to bitcoind failed", "err", err)
}

// maxLoggedErrors bounds the logged errors of one outage.
const maxLoggedErrors = 20

// retryTime returns when to try again: up to half of retryDelay later, so that many ingesters do not try at once.
func retryTime(now time.Time) time.Time { return now.Add(retryDelay + rand.N(retryDelay/2)) }
