package node

import (
	"context"
	"errors"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/bitcoind"
)

// backfill fetches the bodies of missing transactions: all of the mempool after a start, a few after a gap.
type backfill struct {
	wanted    []chainhash.Hash
	list      int // the number of the list that wanted is from
	inFlight  int // requests, of earlier lists too
	retryAt   time.Time
	backlog   []fetched // fetched transactions, delivered when no message waits
	delivered int       // of the backlog

	retries  []chainhash.Hash       // failed; fetched again after all others
	failures map[chainhash.Hash]int // how often each failed
	skipped  int                    // given up in this backfill

	blockFailures map[chainhash.Hash]int // how often each failed, of those that the walk has not skipped yet

	started     time.Time
	lastLogged  time.Time
	total, done int // transactions
	blocks      int
}

// fetched is a transaction that was fetched over RPC.
type fetched struct {
	tx     *wire.MsgTx
	at     time.Time
	pooled bool // it counts only while it is in the mempool
}

const (
	// bodiesPerRequest is how many transactions one request is for: about 200 kB of response and some milliseconds of
	// the node's time, so that other clients get their turn.
	bodiesPerRequest = 500
	// maxInFlight is how many requests run at once: two of bitcoind's four RPC threads.
	maxInFlight = 2
	// maxBacklog is when fetching pauses: a block or two.
	maxBacklog = 10_000
	// deliverBatch is how many transactions of the backlog are delivered before messages get their turn: under a
	// millisecond of work.
	deliverBatch = 32
	// progressInterval is how often a long backfill logs its progress.
	progressInterval = 2 * time.Second
)

const (
	// triesPerBackfill is how often a backfill tries to fetch a transaction or a block, a second or more apart, before
	// it is skipped.
	triesPerBackfill = 3
	// maxTries is how often it is tried in all. After the first backfill each resync tries once more, in case the cause
	// has passed; but not for ever, as a list may be requested every 500 ms.
	maxTries = 10
	// maxFailures bounds the remembered failures between two resyncs, to 4 MB. When they are dropped, the tries start
	// again.
	maxFailures = 100_000
)

// start lists what is missing from the pool, and returns how many transactions that is.
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

// fail records that a transaction could not be fetched though others could, and returns how often that was. From
// triesPerBackfill on it is skipped. If the request was for an earlier list, this backfill makes its own.
func (f *backfill) fail(id chainhash.Hash, list int) (times int) {
	if len(f.failures) >= maxFailures {
		clear(f.failures)
	}
	if f.failures == nil {
		f.failures = make(map[chainhash.Hash]int)
	}
	f.failures[id]++
	times = f.failures[id]
	switch {
	case list != f.list:
	case times < triesPerBackfill:
		f.retries = append(f.retries, id)
		f.done--
	default:
		f.skipped++
	}
	return times
}

// failBlock records that a block could not be fetched, and reports whether to skip it. The count outlasts the walk:
// another list may start a new walk at any time.
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

// startRetries fetches what failed again, a while after all others came.
func (f *backfill) startRetries(now time.Time) {
	if len(f.wanted) == 0 && f.inFlight == 0 && len(f.retries) > 0 {
		f.wanted, f.retries = f.retries, nil
		f.retryAt = retryTime(now)
	}
}

// idle reports whether nothing is left to fetch or deliver.
func (f *backfill) idle() bool {
	return len(f.wanted) == 0 && len(f.retries) == 0 && f.inFlight == 0 && len(f.backlog) == 0
}

func (f *backfill) add(id chainhash.Hash) {
	f.wanted = append(f.wanted, id)
	f.total++
}

// requestBodies requests the next batches. The walk's first block goes first: it gives a price soonest.
func (n *Node) requestBodies(now time.Time) {
	f := &n.backfill
	f.startRetries(now)
	for len(f.wanted) > 0 && f.inFlight < maxInFlight && len(f.backlog) < maxBacklog && !now.Before(f.retryAt) {
		if n.sync.rpc.defers() || n.chain.walk.active && n.chain.walk.steps == 0 && n.chain.walk.retry.IsZero() {
			return
		}
		ids, list := n.nextBatch(), f.list
		f.inFlight++
		n.async(func(ctx context.Context) func() {
			b, err := n.fetchBodies(ctx, ids, now)
			return func() { n.applyBodies(ids, list, b, err) }
		})
	}
}

// nextBatch takes the next transactions that are still missing.
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

// bodies is the result of a request for some transactions.
type bodies struct {
	received []fetched
	old      []chainhash.Hash // older than the window, so their bodies were not fetched
	failed   map[chainhash.Hash]error
}

// fetchBodies fetches the entry times first, and then the bodies of those within the window.
func (n *Node) fetchBodies(ctx context.Context, ids []chainhash.Hash, now time.Time) (b bodies, err error) {
	times, err := n.rpc.EntryTimes(ctx, ids)
	if err := b.collectFailed(ids, err); err != nil {
		return b, err
	}
	var recent []chainhash.Hash
	var at []time.Time
	for i, t := range times {
		switch {
		case t.IsZero(): // it has left the mempool, which a message reports; or it failed
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

// collectFailed collects the single IDs that could not be fetched. It returns an error of any other kind: that is about
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

// applyBodies applies a response, which is valid even if a newer list has come meanwhile; but that list includes all
// that is still missing.
func (n *Node) applyBodies(requested []chainhash.Hash, list int, b bodies, err error) {
	f := &n.backfill
	f.inFlight--
	noteFetch(&n.sync.rpc.bodiesFailingSince, err, time.Now())
	if err != nil {
		n.logOnce(err)
		if list == f.list {
			f.wanted = append(f.wanted, requested...)
		}
		f.retryAt = retryTime(time.Now())
		return
	}
	if list == f.list {
		f.done += len(requested)
	}
	f.backlog = append(f.backlog, b.received...)
	for _, id := range b.old {
		if n.pool.isMissing(id) {
			n.pool.markReceived(id) // it is not wanted
		}
	}
	for id, why := range b.failed {
		if n.pool.isMissing(id) {
			n.handleFailed(id, list, why)
		}
	}
}

func (n *Node) handleFailed(id chainhash.Hash, list int, why error) {
	if times := n.backfill.fail(id, list); times == triesPerBackfill {
		n.metrics.skipped.Inc()
		n.logLimit.Do(func() {
			n.log.Warn("skipped a transaction that could not be fetched", "id", id, "tries", times, "err", why)
		})
	}
}

// deliverBacklog delivers some of the backlog, and reports whether there is more.
func (n *Node) deliverBacklog() bool {
	f := &n.backfill
	for range deliverBatch {
		if f.delivered == len(f.backlog) {
			f.backlog, f.delivered = f.backlog[:0], 0
			return false
		}
		n.deliverFetched(&f.backlog[f.delivered])
		f.backlog[f.delivered] = fetched{} // release the transaction
		f.delivered++
	}
	return true
}

func (n *Node) deliverFetched(g *fetched) {
	id := g.tx.TxHash()
	if g.pooled {
		if !n.pool.isMissing(id) {
			return // it left the mempool, or came over ZMQ
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

// logProgress logs the progress of a long backfill, and its end.
func (n *Node) logProgress(now time.Time) {
	f := &n.backfill
	if f.started.IsZero() {
		return
	}
	took := now.Sub(f.started)
	if f.idle() && !n.chain.walk.active {
		if f.total > 0 || f.blocks > 0 {
			n.log.Info("backfill complete", "transactions", f.total, "skipped", f.skipped, "blocks", f.blocks, "took", took.Round(time.Millisecond))
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
	n.log.Info("backfilling the window", "done", f.done, "total", f.total, "blocks", f.blocks,
		"per_second", int(perSecond), "left", left.Round(time.Second))
}
