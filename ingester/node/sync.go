package node

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/bitcoind"
)

// syncer is how far our view of the mempool is known to be the node's.
type syncer struct {
	inStep    bool
	begunAnew bool      // what a node that began anew does not know of was not taken back: its file may be old, or lost
	reach     reach     // whether RPC answers, and so whether transactions that come now are believed to be new
	due       time.Time // when the node's list is to be asked for; zero: not
	done      time.Time // when it last was had
	asking    bool
	asked     int      // counts what was asked, so that an answer that is out of date is known
	notes     []change // what came since it was asked for
	before    place    // where the pool was when it was asked for
	listed    uint64   // the number that the list was just before
	heard     uint64   // the highest number that came

	skipped time.Time           // since when numbers of the mempool are unexplained
	told    map[string]struct{} // complaints since the last answer
}

// A change is a message of the topic sequence, as the pool takes it.
type change struct {
	letter byte
	id     chainhash.Hash
	number uint64
	mined  []chainhash.Hash // of a block
}

const (
	// spacing is the least time between two lists of the mempool, which take the node some work each.
	spacing = 500 * time.Millisecond
	// retry is how long the node is left alone when it gave no answer. With the client's own tries inside, it is
	// asked every few seconds.
	retry = time.Second
	// mostNotes bounds what is kept while a list is on its way: at a hundred times mainnet's rate an answer that
	// takes longer than this does is no use.
	mostNotes = 500_000
)

// resync has the node's list asked for soon.
func (n *Node) resync(why string, now time.Time) {
	if n.rpc == nil {
		return
	}
	n.metrics.resyncs.WithLabelValues(why).Inc()
	n.sync.reach.want(now)
	n.sync.want(now)
}

// hasRPC reports whether there is an RPC to rely on. While there is none, everything is done as without --rpc, but that
// the node's list is asked for again and again.
func (n *Node) hasRPC() bool { return n.rpc != nil && !n.sync.reach.alone }

func (s *syncer) want(at time.Time) {
	if at.Before(s.done.Add(spacing)) {
		at = s.done.Add(spacing)
	}
	if s.due.IsZero() || at.Before(s.due) || s.due.Before(s.done.Add(spacing)) {
		s.due = at
	}
}

// forget gives up on an answer that is on its way.
func (s *syncer) forget() {
	s.asked++
	s.asking, s.notes = false, nil
	s.inStep, s.heard, s.listed = false, 0, 0
}

// note keeps a change, if a list is on its way that may not know it.
func (s *syncer) note(m *message, mined []chainhash.Hash) {
	if !s.asking {
		return
	}
	if len(s.notes) >= mostNotes {
		s.forget()
		s.want(m.at)
		return
	}
	s.notes = append(s.notes, change{letter: m.letter, id: m.id, number: m.number, mined: slices.Clone(mined)})
}

// ask asks whatever is due, a question of each kind at a time.
func (n *Node) ask() {
	if n.rpc == nil {
		return
	}
	now := time.Now()
	if s := &n.sync; !s.asking && !s.due.IsZero() && !now.Before(s.due) {
		n.askList(now)
	}
	n.askWalk(now)
	n.askBodies(now)
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

func (n *Node) askList(now time.Time) {
	s := &n.sync
	s.asked++
	s.asking, s.due, s.notes = true, time.Time{}, nil
	s.reach.want(now)
	asked, needed := s.asked, n.chain.published == nil || s.reach.holds()
	s.before = n.pool.place()
	n.pool.begin()
	n.question(func(ctx context.Context) func() {
		l, err := n.getList(ctx, needed)
		return func() {
			if asked == n.sync.asked {
				n.listed(l, err)
			}
		}
	})
}

// getList asks for the chain last: the tip is then no older than the list.
func (n *Node) getList(ctx context.Context, publishedToo bool) (l list, err error) {
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
		l.askNetwork(ctx, n.rpc)
	}
	return l, err
}

// askNetwork asks what is for advice alone: its error leaves the list as good as it is.
func (l *list) askNetwork(ctx context.Context, rpc *bitcoind.Client) {
	network, err := rpc.Network(ctx)
	if l.networkErr = err; err == nil {
		l.network = &network
	}
}

// listed brings the pool in step with the node's list and what came since.
func (n *Node) listed(l list, err error) {
	s, now := &n.sync, time.Now()
	notes := s.notes
	s.asking, s.notes, s.done = false, nil, now
	if !s.due.IsZero() {
		s.want(s.due) // not sooner than spacing allows from now on
	}
	if err != nil {
		n.complain(err)
		if isStarting(err) {
			n.rpcAnswers()
			s.reach.starting(now)
		}
		s.want(afterRetry(now))
		return
	}
	if !l.loaded {
		n.rpcAnswers()
		s.reach.starting(now)
		s.want(now.Add(retry))
		return
	}
	n.answered(l, now)
	s.listed = l.Sequence
	unlisted, d := n.pool.replace(l.IDs, l.Sequence)
	if !s.begunAnew && s.before.contradicts(l.Sequence, d, notes) {
		n.log.Info("the node started again while it was not heard")
		n.metrics.restarts.Inc()
		s.begunAnew, s.heard = true, 0
		for _, c := range n.counters {
			*c = counter{}
		}
	}
	n.pool.apply(newerThan(notes, l.Sequence))
	if gone := n.pool.settle(unlisted); !s.begunAnew {
		for _, id := range gone {
			n.chain.vanished[id] = struct{}{}
		}
	}
	s.begunAnew = false
	lacking := n.fill.begin(&n.pool, now)
	n.chain.walk = walk{next: l.chain.Best, active: true}
	first := !s.inStep
	s.inStep, s.skipped = true, time.Time{}
	n.metrics.inStep.Set(1)
	if first || lacking > 0 {
		n.log.Info("in step with the node's mempool", "transactions", n.pool.size, "sequence", n.pool.next,
			"to_fetch", lacking, "gone", len(n.chain.vanished))
	}
}

// newerThan leaves out the changes that a list has in it already. A block's change has no number, but taking out what
// is not there does no harm: it is left out only if something with a number shows that it is older.
func newerThan(notes []change, number uint64) []change {
	for i := len(notes) - 1; i >= 0; i-- {
		if c := notes[i]; c.mined == nil && c.number < number {
			return notes[i+1:]
		}
	}
	return notes
}

// apply takes in changes once more.
func (p *pool) apply(changes []change) {
	for _, c := range changes {
		switch c.letter {
		case added:
			p.add(c.id, c.number)
		case removed:
			p.remove(c.id, c.number)
		default:
			p.mine(c.mined)
		}
	}
}

// caughtUp reports whether what comes now is surely newer than the list. RPC overtakes ZMQ easily.
func (s *syncer) caughtUp() bool { return s.heard+1 >= s.listed }

// drifted is called for a change whose number is of the past: before the list, as it should be, or after it, which
// means that our account of what blocks took is wrong.
func (n *Node) drifted(m *message) {
	if n.sync.inStep && m.number >= n.sync.listed {
		n.log.Warn("the mempool's sequence went back: asking for all of it", "number", m.number, "expected", n.pool.next)
		n.sync.inStep = false
		n.resync(whyDrift, m.at)
	}
}

// watchSequence gives numbers of the mempool that no message had some time to be explained by a block, and then takes
// them for lost.
func (n *Node) watchSequence(now time.Time) {
	s := &n.sync
	switch {
	case !s.inStep || s.asking || len(n.chain.changes) > 0 || n.pool.skipped == 0:
		s.skipped = time.Time{}
	case s.skipped.IsZero():
		s.skipped = now
	case now.Sub(s.skipped) > explainWithin:
		n.log.Warn("changes of the mempool were not told", "missed", n.pool.skipped)
		n.metrics.missed.WithLabelValues(missedChanges).Add(float64(n.pool.skipped))
		s.inStep = false
		n.resync(whyMempool, now)
	}
	if !s.inStep {
		n.metrics.inStep.Set(0)
	}
}

// explainWithin: the C of a block comes within milliseconds of the removals for it, unless the node is very busy.
const explainWithin = time.Second

// watchRPC goes on with ZMQ alone if RPC has given no usable answer for too long.
func (n *Node) watchRPC(now time.Time) {
	if n.rpc == nil {
		return
	}
	r := &n.sync.reach
	if n.fill.idle() {
		r.noBodies = time.Time{} // none are asked for
	}
	if !n.chain.walk.active {
		r.noBlocks = time.Time{}
	}
	givenUp, lackedBefore := r.pass(now, n.opts.WithoutRPC), n.lacks
	n.lacks = r.lacking(now, n.opts.WithoutRPC)
	n.setAlone(r.alone || n.lacks)
	switch {
	case n.lacks && !lackedBefore:
		n.log.Warn("the node's RPC does not give the transactions or blocks that are asked for: going on with what comes over ZMQ until it does; checkconfig --probe tries every call",
			"after", n.opts.WithoutRPC)
	case lackedBefore && !n.lacks && !r.alone && r.wanted.IsZero():
		n.log.Info("the node's RPC gives transactions and blocks again")
	}
	if givenUp {
		n.log.Warn("the node's RPC gives no usable answer: going on with ZMQ alone, as without --rpc, until it does; checkconfig --probe tries every call",
			"after", n.opts.WithoutRPC)
	}
}

// rpcAnswers notes that RPC gave all that is wanted.
func (n *Node) rpcAnswers() {
	if n.sync.reach.alone {
		n.log.Info("the node's RPC answers again")
	}
	n.sync.reach.answered()
	n.setAlone(n.lacks)
}

// complain tells what RPC has against us, each thing once until it answers again.
func (n *Node) complain(err error) {
	n.metrics.failures.Inc()
	text := err.Error()
	if _, told := n.sync.told[text]; told || n.ctx.Err() != nil || len(n.sync.told) >= mostComplaints {
		return
	}
	n.sync.told[text] = struct{}{}
	n.log.Warn("the node's RPC gives no answer", "err", err)
}

// mostComplaints bounds what is told of one failure.
const mostComplaints = 20

// afterRetry is when to ask again: up to half of retry later, so that many ingesters do not ask at once.
func afterRetry(now time.Time) time.Time { return now.Add(retry + rand.N(retry/2)) }
