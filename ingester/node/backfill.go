package node

import (
	"context"
	"errors"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/bitcoind"
)

// fill gets the bodies of transactions that are in the mempool and did not come by themselves: all of them at a start,
// a few after a gap.
type backfill struct {
	wanted    []chainhash.Hash
	list      int // of the list that it is for
	inFlight  int // questions on their way, of earlier lists too
	retryAt   time.Time
	backlog   []fetched // to be passed on when no message waits
	delivered int       // of the backlog

	retries  []chainhash.Hash       // refused; asked for again after all others
	failures map[chainhash.Hash]int // how often each was refused
	skipped  int                    // given up in this fill

	blockFailures map[chainhash.Hash]int // how often each could not be had; those that the walk has yet to skip

	started     time.Time
	lastLogged  time.Time
	total, done int // transactions
	blocks      int
}

// fetched is a transaction that was asked for.
type fetched struct {
	tx     *wire.MsgTx
	at     time.Time
	pooled bool // it counts only as long as it is in the mempool
}

const (
	// chunk is how many transactions one question is about: some 200 kB of answer, some milliseconds of the node's
	// time, so that others get their turn.
	bodiesPerRequest = 500
	// fillers is how many questions are on their way at once: two of bitcoind's four RPC threads.
	maxInFlight = 2
	// mostBacklog is when nothing more is asked for: a block or two.
	maxBacklog = 10_000
	// atATime is how many of the backlog are passed on before messages get their turn: under a millisecond of work.
	deliverBatch = 32
	// reportEvery is how often a long fill tells how far it is.
	progressInterval = 2 * time.Second
)

const (
	// triesInAFill is how often a fill asks for a transaction or a block that the node refuses to give, a second or more
	// apart, before it is skipped.
	triesPerBackfill = 3
	// mostTries is how often it is asked for in all. After the first fill each resync asks once more, in case whatever
	// was wrong has passed; but not for ever, as a list may be called for every 500 ms.
	maxTries = 10
	// mostRefusals bounds the memory of refusals between two resyncs, to 4 MB. When it is forgotten, the tries begin
	// again.
	maxFailures = 100_000
)

// begin makes a list of what the pool lacks.
func (f *backfill) start(p *pool, now time.Time) int {
	f.list++
	f.wanted, f.retries = f.wanted[:0], nil
	for id := range f.failures {
		if !p.isMissing(id) {
			delete(f.failures, id)
		}
	}
	if p.missing > 0 {
		for id, m := range p.entries {
			if m.pooled && !m.received && f.failures[id] < maxTries {
				f.wanted = append(f.wanted, id)
			}
		}
	}
	f.started, f.lastLogged, f.total, f.done, f.blocks, f.skipped = now, now, len(f.wanted), 0, 0, 0
	return len(f.wanted)
}

// refuse notes that a transaction could not be had, though others could, and gives how often that was. From triesInAFill
// on it is skipped. If the answer is to an earlier list's question, this fill asks for itself.
func (f *backfill) fail(id chainhash.Hash, number int) (times int) {
	if len(f.failures) >= maxFailures {
		clear(f.failures)
	}
	if f.failures == nil {
		f.failures = make(map[chainhash.Hash]int)
	}
	f.failures[id]++
	times = f.failures[id]
	switch {
	case number != f.list:
	case times < triesPerBackfill:
		f.retries = append(f.retries, id)
		f.done--
	default:
		f.skipped++
	}
	return times
}

// giveUp notes that a block could not be had, and says whether it is to be skipped. The count outlasts the walk: another
// list may begin a new one at any time.
func (f *backfill) failBlock(block chainhash.Hash) bool {
	if f.blockFailures == nil || len(f.blockFailures) >= maxSteps {
		f.blockFailures = make(map[chainhash.Hash]int)
	}
	f.blockFailures[block]++
	if f.blockFailures[block] < triesPerBackfill {
		return false
	}
	delete(f.blockFailures, block)
	return true
}

// repeat asks for what was refused once more, a while after all others came.
func (f *backfill) startRetries(now time.Time) {
	if len(f.wanted) == 0 && f.inFlight == 0 && len(f.retries) > 0 {
		f.wanted, f.retries = f.retries, nil
		f.retryAt = retryTime(now)
	}
}

// idle says whether nothing is wanted.
func (f *backfill) idle() bool {
	return len(f.wanted) == 0 && len(f.retries) == 0 && f.inFlight == 0 && len(f.backlog) == 0
}

func (f *backfill) add(id chainhash.Hash) {
	f.wanted = append(f.wanted, id)
	f.total++
}

// askBodies asks for the next chunks. The walk's first block goes before: it is the soonest price.
func (n *Node) requestBodies(now time.Time) {
	f := &n.backfill
	f.startRetries(now)
	for len(f.wanted) > 0 && f.inFlight < maxInFlight && len(f.backlog) < maxBacklog && !now.Before(f.retryAt) {
		if n.sync.rpc.defers() || n.chain.walk.active && n.chain.walk.steps == 0 {
			return
		}
		ids, number := n.nextBatch(), f.list
		f.inFlight++
		n.async(func(ctx context.Context) func() {
			b, err := n.fetchBodies(ctx, ids, now)
			return func() { n.applyBodies(ids, number, b, err) }
		})
	}
}

// nextChunk takes what is wanted still.
func (n *Node) nextBatch() []chainhash.Hash {
	f := &n.backfill
	var ids []chainhash.Hash
	for len(f.wanted) > 0 && len(ids) < bodiesPerRequest {
		last := len(f.wanted) - 1
		id := f.wanted[last]
		f.wanted = f.wanted[:last]
		if n.pool.isMissing(id) {
			ids = append(ids, id)
		} else {
			f.done++
		}
	}
	return ids
}

// bodies is what came of a question about some transactions.
type bodies struct {
	received []fetched
	old      []chainhash.Hash // older than the window, so their bodies were not asked for
	failed   map[chainhash.Hash]error
}

// getBodies asks first when they came, and then only for those that are of use.
func (n *Node) fetchBodies(ctx context.Context, ids []chainhash.Hash, now time.Time) (b bodies, err error) {
	times, err := n.rpc.EntryTimes(ctx, ids)
	if err := b.collectFailed(ids, err); err != nil {
		return b, err
	}
	var recent []chainhash.Hash
	var at []time.Time
	for i, t := range times {
		switch {
		case t.IsZero(): // it has left the mempool, which we will hear; or was refused
		case now.Sub(t) > n.opts.Window:
			b.old = append(b.old, ids[i])
		default:
			recent, at = append(recent, ids[i]), append(at, t)
		}
	}
	txs, err := n.rpc.Transactions(ctx, recent)
	if err := b.collectFailed(recent, err); err != nil {
		return b, err
	}
	for i, tx := range txs {
		if tx != nil {
			b.received = append(b.received, fetched{tx: tx, at: at[i], pooled: true})
		}
	}
	return b, nil
}

// refuse notes which of ids could not be had, each by itself. It gives back an error of any other kind: that is about
// the node.
func (b *bodies) collectFailed(ids []chainhash.Hash, err error) error {
	partial, ok := errors.AsType[*bitcoind.PartialError](err)
	if !ok {
		return err
	}
	if b.failed == nil {
		b.failed = make(map[chainhash.Hash]error)
	}
	for i, why := range partial.Failed {
		b.failed[ids[i]] = why
	}
	return nil
}

// gotBodies takes an answer, which is good even if a newer list has come meanwhile; but that list has all that is lacking
// still.
func (n *Node) applyBodies(asked []chainhash.Hash, number int, b bodies, err error) {
	f := &n.backfill
	f.inFlight--
	if err != nil {
		n.logOnce(err)
		if number == f.list {
			f.wanted = append(f.wanted, asked...)
		}
		f.retryAt = retryTime(time.Now())
		return
	}
	if number == f.list {
		f.done += len(asked)
	}
	f.backlog = append(f.backlog, b.received...)
	for _, id := range b.old {
		if n.pool.isMissing(id) {
			n.pool.markReceived(id) // it is not wanted
		}
	}
	for id, why := range b.failed {
		if n.pool.isMissing(id) {
			n.handleFailed(id, number, why)
		}
	}
}

func (n *Node) handleFailed(id chainhash.Hash, number int, why error) {
	if times := n.backfill.fail(id, number); times == triesPerBackfill {
		n.metrics.skipped.Inc()
		n.logLimit.Do(func() {
			n.log.Warn("skipped a transaction that RPC does not give", "id", id, "tries", times, "err", why)
		})
	}
}

// feed passes on some of the backlog, and reports whether there is more.
func (n *Node) deliverBacklog() bool {
	f := &n.backfill
	for range deliverBatch {
		if f.delivered == len(f.backlog) {
			f.backlog, f.delivered = f.backlog[:0], 0
			return false
		}
		n.deliverFetched(&f.backlog[f.delivered])
		f.backlog[f.delivered] = fetched{} // let go of the transaction
		f.delivered++
	}
	return true
}

func (n *Node) deliverFetched(g *fetched) {
	id := g.tx.TxHash()
	if g.pooled {
		if !n.pool.isMissing(id) {
			return // it left, or came by itself
		}
		n.pool.markReceived(id)
	}
	n.metrics.backfilled.Inc()
	now := time.Now()
	if g.at.After(now) {
		g.at = now
	}
	n.emit(Event{Kind: Seen, ID: id, Tx: g.tx, At: g.at})
}

// reportFill tells how far a long fill is, and when it is done.
func (n *Node) logProgress(now time.Time) {
	f := &n.backfill
	if f.started.IsZero() {
		return
	}
	took := now.Sub(f.started)
	if f.idle() && !n.chain.walk.active {
		if f.total > 0 || f.blocks > 0 {
			n.log.Info("the window is filled", "transactions", f.total, "skipped", f.skipped, "blocks", f.blocks, "took", took.Round(time.Millisecond))
		}
		f.started, f.total, f.done = time.Time{}, 0, 0
		return
	}
	if now.Sub(f.lastLogged) < progressInterval || f.done == 0 {
		return
	}
	f.lastLogged = now
	perSecond := float64(f.done) / took.Seconds()
	left := time.Duration(float64(f.total-f.done) / perSecond * float64(time.Second))
	n.log.Info("filling the window", "done", f.done, "total", f.total, "blocks", f.blocks,
		"per_second", int(perSecond), "left", left.Round(time.Second))
}
