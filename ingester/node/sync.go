package node

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/transcript"
)

// syncer is how far our view of the mempool is known to be the node's.
type syncer struct {
	inSync       bool
	restarted    bool      // what a node that began anew does not know of was not taken back: its file may be old, or lost
	rpc          rpcState  // whether RPC answers, and so whether transactions that come now are believed to be new
	due          time.Time // when the node's list is to be asked for; zero: not
	lastList     time.Time // when it last was had
	fetching     bool
	request      int      // counts what was asked, so that an answer that is out of date is known
	changes      []change // what came since it was asked for
	before       position // where the pool was when it was asked for
	listSequence uint64   // the number that the list was just before
	highest      uint64   // the highest number that came

	unexplainedSince time.Time           // since when numbers of the mempool are unexplained
	logged           map[string]struct{} // complaints since the last answer
}

// A change is a message of the topic sequence, as the pool takes it.
type change struct {
	letter    byte
	id        chainhash.Hash
	number    uint64
	confirmed []chainhash.Hash // of a block
}

const (
	// spacing is the least time between two lists of the mempool, which take the node some work each.
	minListInterval = 500 * time.Millisecond
	// retry is how long the node is left alone when it gave no answer. With the client's own tries inside, it is
	// asked every few seconds.
	retryDelay = time.Second
	// mostNotes bounds what is kept while a list is on its way: at a hundred times mainnet's rate an answer that
	// takes longer than this does is no use.
	maxChanges = 500_000
)

// resync has the node's list asked for soon.
func (n *Node) resync(why string, now time.Time) {
	if n.rpc == nil {
		return
	}
	n.metrics.resyncs.WithLabelValues(why).Inc()
	n.sync.rpc.request(now)
	n.sync.schedule(now)
}

// hasRPC reports whether there is an RPC to rely on. While there is none, everything is done as without --rpc, but that
// the node's list is asked for again and again.
func (n *Node) hasRPC() bool { return n.rpc != nil && !n.sync.rpc.zmqOnly }

func (s *syncer) schedule(at time.Time) {
	if at.Before(s.lastList.Add(minListInterval)) {
		at = s.lastList.Add(minListInterval)
	}
	if s.due.IsZero() || at.Before(s.due) || s.due.Before(s.lastList.Add(minListInterval)) {
		s.due = at
	}
}

// forget gives up on an answer that is on its way.
func (s *syncer) cancel() {
	s.request++
	s.fetching, s.changes = false, nil
	s.inSync, s.highest, s.listSequence = false, 0, 0
}

// note keeps a change, if a list is on its way that may not know it.
func (s *syncer) record(m *message, mined []chainhash.Hash) {
	if !s.fetching {
		return
	}
	if len(s.changes) >= maxChanges {
		s.cancel()
		s.schedule(m.at)
		return
	}
	s.changes = append(s.changes, change{letter: m.letter, id: m.id, number: m.number, confirmed: slices.Clone(mined)})
}

// ask asks whatever is due, a question of each kind at a time.
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

// list is the node's mempool, and what else has to be known with it.
type list struct {
	bitcoind.Mempool
	loaded    bool
	chain     bitcoind.Chain
	published []bitcoind.Notification

	network    *bitcoind.Network // nil if it was not asked for
	networkErr error
}

func (n *Node) requestList(now time.Time) {
	s := &n.sync
	s.request++
	s.fetching, s.due, s.changes = true, time.Time{}, nil
	s.rpc.request(now)
	asked, needed := s.request, n.chain.published == nil || s.rpc.defers()
	s.before = n.pool.position()
	n.pool.startSnapshot()
	n.async(func(ctx context.Context) func() {
		l, err := n.fetchList(ctx, needed)
		return func() {
			if asked == n.sync.request {
				n.applyList(l, err)
			}
		}
	})
}

// getList asks for the chain last: the tip is then no older than the list.
func (n *Node) fetchList(ctx context.Context, publishedToo bool) (l list, err error) {
	if l.loaded, err = n.rpc.MempoolLoaded(ctx); err != nil || !l.loaded {
		return l, err // half of a list is of no use
	}
	if l.Mempool, err = n.rpc.Mempool(ctx); err != nil {
		return l, err
	}
	if l.chain, err = n.rpc.Chain(ctx); err != nil {
		return l, err
	}
	if publishedToo {
		l.published, err = n.rpc.Notifications(ctx)
		l.published = append([]bitcoind.Notification{}, l.published...) // none is an answer, too
		l.fetchNetwork(ctx, n.rpc)
	}
	return l, err
}

// askNetwork asks what is for advice alone: its error leaves the list as good as it is.
func (l *list) fetchNetwork(ctx context.Context, rpc *bitcoind.Client) {
	network, err := rpc.Network(ctx)
	if l.networkErr = err; err == nil {
		l.network = &network
	}
}

// listed brings the pool in step with the node's list and what came since.
func (n *Node) applyList(l list, err error) {
	s, now := &n.sync, time.Now()
	notes := s.changes
	s.fetching, s.changes, s.lastList = false, nil, now
	if !s.due.IsZero() {
		s.schedule(s.due) // not sooner than spacing allows from now on
	}
	if err != nil {
		n.logOnce(err)
		if isStarting(err) {
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
	if !s.restarted && s.before.contradicts(l.Sequence, d, notes) {
		n.log.Info("the node started again while it was not heard")
		n.metrics.restarts.Inc()
		s.restarted, s.highest = true, 0
		for _, c := range n.counters {
			*c = counter{}
		}
	}
	n.pool.apply(newerThan(notes, l.Sequence))
	if gone := n.pool.removeAbsent(unlisted); !s.restarted {
		for _, id := range gone {
			n.chain.vanished[id] = struct{}{}
		}
	}
	s.restarted = false
	lacking := n.backfill.start(&n.pool, now)
	n.chain.walk = walk{next: l.chain.Best, active: true}
	first := !s.inSync
	s.inSync, s.unexplainedSince = true, time.Time{}
	n.metrics.inSync.Set(1)
	if first || lacking > 0 {
		n.log.Info("in step with the node's mempool", "transactions", n.pool.size, "sequence", n.pool.next,
			"to_fetch", lacking, "gone", len(n.chain.vanished))
	}
}

// newerThan leaves out the changes that a list has in it already. A block's change has no number, but taking out what
// is not there does no harm: it is left out only if something with a number shows that it is older.
func newerThan(notes []change, number uint64) []change {
	for i := len(notes) - 1; i >= 0; i-- {
		if c := notes[i]; c.confirmed == nil && c.number < number {
			return notes[i+1:]
		}
	}
	return notes
}

// apply takes in changes once more.
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

// caughtUp reports whether what comes now is surely newer than the list. RPC overtakes ZMQ easily.
func (s *syncer) caughtUp() bool { return s.highest+1 >= s.listSequence }

// drifted is called for a change whose number is of the past: before the list, as it should be, or after it, which
// means that our account of what blocks took is wrong.
func (n *Node) handleStaleChange(m *message) {
	if n.sync.inSync && m.number >= n.sync.listSequence {
		n.log.Warn("the mempool's sequence went back: asking for all of it", "number", m.number, "expected", n.pool.next)
		n.sync.inSync = false
		n.resync(whyDrift, m.at)
	}
}

// watchSequence gives numbers of the mempool that no message had some time to be explained by a block, and then takes
// them for lost.
func (n *Node) checkSequence(now time.Time) {
	s := &n.sync
	switch {
	case !s.inSync || s.fetching || len(n.chain.changes) > 0 || n.pool.unexplained == 0:
		s.unexplainedSince = time.Time{}
	case s.unexplainedSince.IsZero():
		s.unexplainedSince = now
	case now.Sub(s.unexplainedSince) > explainTimeout:
		n.log.Warn("changes of the mempool were not told", "missed", n.pool.unexplained)
		n.metrics.missed.WithLabelValues(missedChanges).Add(float64(n.pool.unexplained))
		s.inSync = false
		n.resync(whyMempool, now)
	}
	if !s.inSync {
		n.metrics.inSync.Set(0)
	}
}

// explainWithin: the C of a block comes within milliseconds of the removals for it, unless the node is very busy.
const explainTimeout = time.Second

// watchRPC goes on with ZMQ alone if RPC has given no usable answer for too long.
func (n *Node) checkRPC(now time.Time) {
	if n.rpc == nil {
		return
	}
	givenUp := n.sync.rpc.tick(now, n.opts.ZMQOnlyAfter)
	n.setZMQOnly(n.sync.rpc.zmqOnly)
	if givenUp {
		n.log.Warn("the node's RPC gives no usable answer: going on with ZMQ alone, as without --rpc, until it does; checkconfig --probe tries every call",
			"after", n.opts.ZMQOnlyAfter)
	}
}

// rpcAnswers notes that RPC gave all that is wanted.
func (n *Node) markRPCUsable() {
	if n.sync.rpc.zmqOnly {
		n.log.Info("the node's RPC answers again")
	}
	n.sync.rpc.answered()
	n.setZMQOnly(false)
}

// complain tells what RPC has against us, each thing once until it answers again.
func (n *Node) logOnce(err error) {
	n.metrics.failures.Inc()
	text := err.Error()
	if _, told := n.sync.logged[text]; told || n.ctx.Err() != nil || len(n.sync.logged) >= maxLoggedErrors {
		return
	}
	n.sync.logged[text] = struct{}{}
	n.log.Warn("the node's RPC gives no answer", "err", err)
}

// mostComplaints bounds what is told of one failure.
const maxLoggedErrors = 20

// afterRetry is when to ask again: up to half of retry later, so that many ingesters do not ask at once.
func retryTime(now time.Time) time.Time { return now.Add(retryDelay + rand.N(retryDelay/2)) }
