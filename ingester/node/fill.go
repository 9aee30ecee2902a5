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
type fill struct {
	wanted  []chainhash.Hash
	number  int // of the list that it is for
	asking  int // questions on their way, of earlier lists too
	retry   time.Time
	backlog []fetched // to be passed on when no message waits
	taken   int       // of the backlog

	again    []chainhash.Hash       // refused; asked for again after all others
	refusals map[chainhash.Hash]int // how often each was refused
	skipped  int                    // given up in this fill

	badBlocks map[chainhash.Hash]int // how often each could not be had; those that the walk has yet to skip

	began       time.Time
	reported    time.Time
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
	chunk = 500
	// fillers is how many questions are on their way at once: two of bitcoind's four RPC threads.
	fillers = 2
	// mostBacklog is when nothing more is asked for: a block or two.
	mostBacklog = 10_000
	// atATime is how many of the backlog are passed on before messages get their turn: under a millisecond of work.
	atATime = 32
	// reportEvery is how often a long fill tells how far it is.
	reportEvery = 2 * time.Second
)

const (
	// triesInAFill is how often a fill asks for a transaction or a block that the node refuses to give, a second or more
	// apart, before it is skipped.
	triesInAFill = 3
	// mostTries is how often it is asked for in all. After the first fill each resync asks once more, in case whatever
	// was wrong has passed; but not for ever, as a list may be called for every 500 ms.
	mostTries = 10
	// mostRefusals bounds the memory of refusals between two resyncs, to 4 MB. When it is forgotten, the tries begin
	// again.
	mostRefusals = 100_000
)

// begin makes a list of what the pool lacks.
func (f *fill) begin(p *pool, now time.Time) int {
	f.number++
	f.wanted, f.again = f.wanted[:0], nil
	for id := range f.refusals {
		if !p.lacks(id) {
			delete(f.refusals, id)
		}
	}
	if p.unheard > 0 {
		for id, m := range p.marks {
			if m.pooled && !m.heard && f.refusals[id] < mostTries {
				f.wanted = append(f.wanted, id)
			}
		}
	}
	f.began, f.reported, f.total, f.done, f.blocks, f.skipped = now, now, len(f.wanted), 0, 0, 0
	return len(f.wanted)
}

// refuse notes that a transaction could not be had, though others could, and gives how often that was. From triesInAFill
// on it is skipped. If the answer is to an earlier list's question, this fill asks for itself.
func (f *fill) refuse(id chainhash.Hash, number int) (times int) {
	if len(f.refusals) >= mostRefusals {
		clear(f.refusals)
	}
	if f.refusals == nil {
		f.refusals = make(map[chainhash.Hash]int)
	}
	f.refusals[id]++
	times = f.refusals[id]
	switch {
	case number != f.number:
	case times < triesInAFill:
		f.again = append(f.again, id)
		f.done--
	default:
		f.skipped++
	}
	return times
}

// giveUp notes that a block could not be had, and says whether it is to be skipped. The count outlasts the walk: another
// list may begin a new one at any time.
func (f *fill) giveUp(block chainhash.Hash) bool {
	if f.badBlocks == nil || len(f.badBlocks) >= mostSteps {
		f.badBlocks = make(map[chainhash.Hash]int)
	}
	f.badBlocks[block]++
	if f.badBlocks[block] < triesInAFill {
		return false
	}
	delete(f.badBlocks, block)
	return true
}

// repeat asks for what was refused once more, a while after all others came.
func (f *fill) repeat(now time.Time) {
	if len(f.wanted) == 0 && f.asking == 0 && len(f.again) > 0 {
		f.wanted, f.again = f.again, nil
		f.retry = afterRetry(now)
	}
}

// idle says whether nothing is wanted.
func (f *fill) idle() bool {
	return len(f.wanted) == 0 && len(f.again) == 0 && f.asking == 0 && len(f.backlog) == 0
}

func (f *fill) want(id chainhash.Hash) {
	f.wanted = append(f.wanted, id)
	f.total++
}

// askBodies asks for the next chunks. The walk's first block goes before, unless it could not be had: it is the soonest
// price.
func (n *Node) askBodies(now time.Time) {
	f := &n.fill
	f.repeat(now)
	for len(f.wanted) > 0 && f.asking < fillers && len(f.backlog) < mostBacklog && !now.Before(f.retry) {
		if n.sync.reach.holds() || n.chain.walk.active && n.chain.walk.steps == 0 && n.chain.walk.retry.IsZero() {
			return
		}
		ids, number := n.nextChunk(), f.number
		f.asking++
		n.question(func(ctx context.Context) func() {
			b, err := n.getBodies(ctx, ids, now)
			return func() { n.gotBodies(ids, number, b, err) }
		})
	}
}

// nextChunk takes what is wanted still.
func (n *Node) nextChunk() []chainhash.Hash {
	f := &n.fill
	var ids []chainhash.Hash
	for len(f.wanted) > 0 && len(ids) < chunk {
		last := len(f.wanted) - 1
		id := f.wanted[last]
		f.wanted = f.wanted[:last]
		if n.pool.lacks(id) {
			ids = append(ids, id)
		} else {
			f.done++
		}
	}
	return ids
}

// bodies is what came of a question about some transactions.
type bodies struct {
	got     []fetched
	old     []chainhash.Hash // older than the window, so their bodies were not asked for
	refused map[chainhash.Hash]error
}

// getBodies asks first when they came, and then only for those that are of use.
func (n *Node) getBodies(ctx context.Context, ids []chainhash.Hash, now time.Time) (b bodies, err error) {
	times, err := n.rpc.EntryTimes(ctx, ids)
	if err := b.refuse(ids, err); err != nil {
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
	if err := b.refuse(recent, err); err != nil {
		return b, err
	}
	for i, tx := range txs {
		if tx != nil {
			b.got = append(b.got, fetched{tx: tx, at: at[i], pooled: true})
		}
	}
	return b, nil
}

// refuse notes which of ids could not be had, each by itself. It gives back an error of any other kind: that is about
// the node.
func (b *bodies) refuse(ids []chainhash.Hash, err error) error {
	partial, ok := errors.AsType[*bitcoind.PartialError](err)
	if !ok {
		return err
	}
	if b.refused == nil {
		b.refused = make(map[chainhash.Hash]error)
	}
	for i, why := range partial.Failed {
		b.refused[ids[i]] = why
	}
	return nil
}

// gotBodies takes an answer, which is good even if a newer list has come meanwhile; but that list has all that is lacking
// still.
func (n *Node) gotBodies(asked []chainhash.Hash, number int, b bodies, err error) {
	f := &n.fill
	f.asking--
	given(&n.sync.reach.noBodies, err, time.Now())
	if err != nil {
		n.complain(err)
		if number == f.number {
			f.wanted = append(f.wanted, asked...)
		}
		f.retry = afterRetry(time.Now())
		return
	}
	if number == f.number {
		f.done += len(asked)
	}
	f.backlog = append(f.backlog, b.got...)
	for _, id := range b.old {
		if n.pool.lacks(id) {
			n.pool.hear(id) // it is not wanted
		}
	}
	for id, why := range b.refused {
		if n.pool.lacks(id) {
			n.refused(id, number, why)
		}
	}
}

func (n *Node) refused(id chainhash.Hash, number int, why error) {
	if times := n.fill.refuse(id, number); times == triesInAFill {
		n.metrics.skipped.Inc()
		n.often.Do(func() {
			n.log.Warn("skipped a transaction that RPC does not give", "id", id, "tries", times, "err", why)
		})
	}
}

// feed passes on some of the backlog, and reports whether there is more.
func (n *Node) feed() bool {
	f := &n.fill
	for range atATime {
		if f.taken == len(f.backlog) {
			f.backlog, f.taken = f.backlog[:0], 0
			return false
		}
		n.passFetched(&f.backlog[f.taken])
		f.backlog[f.taken] = fetched{} // let go of the transaction
		f.taken++
	}
	return true
}

func (n *Node) passFetched(g *fetched) {
	id := g.tx.TxHash()
	if g.pooled {
		if !n.pool.lacks(id) {
			return // it left, or came by itself
		}
		n.pool.hear(id)
	}
	n.metrics.filled.Inc()
	now := time.Now()
	if g.at.After(now) {
		g.at = now
	}
	n.emit(Event{Kind: Seen, ID: id, Tx: g.tx, At: g.at})
}

// reportFill tells how far a long fill is, and when it is done.
func (n *Node) reportFill(now time.Time) {
	f := &n.fill
	if f.began.IsZero() {
		return
	}
	took := now.Sub(f.began)
	if f.idle() && !n.chain.walk.active {
		if f.total > 0 || f.blocks > 0 {
			n.log.Info("the window is filled", "transactions", f.total, "skipped", f.skipped, "blocks", f.blocks, "took", took.Round(time.Millisecond))
		}
		f.began, f.total, f.done = time.Time{}, 0, 0
		return
	}
	if now.Sub(f.reported) < reportEvery || f.done == 0 {
		return
	}
	f.reported = now
	perSecond := float64(f.done) / took.Seconds()
	left := time.Duration(float64(f.total-f.done) / perSecond * float64(time.Second))
	n.log.Info("filling the window", "done", f.done, "total", f.total, "blocks", f.blocks,
		"per_second", int(perSecond), "left", left.Round(time.Second))
}
