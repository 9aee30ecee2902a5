package node

import (
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
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
	skipped  int                    // skipped in this backfill

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

// start lists the pool's missing transactions, and returns their number. A backfill that has not ended goes on with this
// list, even if nothing is missing in it, and its end is logged.
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
	if f.started.IsZero() {
		f.started, f.lastLogged, f.done, f.blocks, f.skipped = now, now, 0, 0, 0
	}
	f.done -= f.skipped // they are wanted again
	f.total, f.skipped = f.done+len(f.wanted), 0
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

// startRetries fetches failed transactions again, a while after all others were fetched.
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

// requestBodies requests the next batches. The walk's first block goes first, because it yields a price soonest.
func (t *tracker) requestBodies(now time.Time) {
	f := &t.backfill
	f.startRetries(now)
	for len(f.wanted) > 0 && f.inFlight < maxInFlight && len(f.backlog) < maxBacklog && !now.Before(f.retryAt) {
		if w := t.chain.walk; t.sync.rpc.defers() || w != nil && w.steps == 0 && w.retry.IsZero() {
			return
		}
		f.inFlight++
		t.request(bodiesRequest{ids: t.nextBatch(), list: f.list, oldest: now.Add(-t.opts.Window)})
	}
}

// nextBatch removes and returns the next transactions that are still missing.
func (t *tracker) nextBatch() []chainhash.Hash {
	f := &t.backfill
	var ids []chainhash.Hash
	for len(f.wanted) > 0 && len(ids) < bodiesPerRequest {
		last := len(f.wanted) - 1
		id := f.wanted[last]
		f.wanted = f.wanted[:last]
		if t.pool.isMissing(id) {
			ids = append(ids, id)
		} else {
			f.done++
		}
	}
	return ids
}

// applyBodies applies a response, which is valid even if a newer list has come meanwhile; but that list includes all
// that is still missing.
func (t *tracker) applyBodies(r bodiesRequest, b bodies, err error, now time.Time) {
	f := &t.backfill
	f.inFlight--
	noteFetch(&t.sync.rpc.bodiesFailingSince, err, now)
	if err != nil {
		t.logOnce(err)
		if r.list == f.list {
			f.wanted = append(f.wanted, r.ids...)
		}
		f.retryAt = retryTime(now)
		return
	}
	if r.list == f.list {
		f.done += len(r.ids)
	}
	f.backlog = append(f.backlog, b.received...)
	for _, id := range b.old {
		if t.pool.isMissing(id) {
			t.pool.markReceived(id) // it is not wanted
		}
	}
	for id, why := range b.failed {
		if t.pool.isMissing(id) {
			t.handleFailed(id, r.list, why)
		}
	}
}

func (t *tracker) handleFailed(id chainhash.Hash, list int, why error) {
	if times := t.backfill.fail(id, list); times == triesPerBackfill {
		t.metrics.skipped.Inc()
		t.logLimit.Do(func() {
			t.log.Warn("skipped a transaction that could not be fetched", "id", id, "tries", times, "err", why)
		})
	}
}

// deliverBacklog delivers some of the backlog, and reports whether there is more.
func (t *tracker) deliverBacklog(now time.Time) bool {
	f := &t.backfill
	for range deliverBatch {
		if f.delivered == len(f.backlog) {
			f.backlog, f.delivered = f.backlog[:0], 0
			return false
		}
		t.deliverFetched(&f.backlog[f.delivered], now)
		f.backlog[f.delivered] = fetched{} // release the transaction
		f.delivered++
	}
	return true
}

func (t *tracker) deliverFetched(g *fetched, now time.Time) {
	id := g.tx.TxHash()
	if g.pooled {
		if !t.pool.isMissing(id) {
			return // it left the mempool, or came over ZMQ
		}
		t.pool.markReceived(id)
	}
	t.metrics.backfilled.Inc()
	if g.at.After(now) {
		g.at = now
	}
	t.emit(Event{Kind: Seen, ID: id, Tx: g.tx, At: g.at})
}

// logProgress logs the progress of a long backfill, and its end.
func (t *tracker) logProgress(now time.Time) {
	f := &t.backfill
	if f.started.IsZero() {
		return
	}
	took := now.Sub(f.started)
	if f.idle() && t.chain.walk == nil {
		if f.total > 0 || f.blocks > 0 {
			t.log.Info("backfill complete", "transactions", f.total, "skipped", f.skipped, "blocks", f.blocks, "took", took.Round(time.Millisecond))
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
	t.log.Info("backfilling the window", "done", f.done, "total", f.total, "blocks", f.blocks,
		"per_second", int(perSecond), "left", left.Round(time.Second))
}
