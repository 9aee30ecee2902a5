package node

import (
	"context"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// fill gets the bodies of transactions that are in the mempool and did not come by themselves: all of them at a start,
// a few after a gap.
type fill struct {
	wanted  []chainhash.Hash
	asking  int // questions on their way
	retry   time.Time
	backlog []fetched // to be passed on when no message waits
	taken   int       // of the backlog

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

// begin makes a list of what the pool lacks.
func (f *fill) begin(p *pool, now time.Time) int {
	f.wanted = f.wanted[:0]
	if p.unheard > 0 {
		for id, m := range p.marks {
			if m.pooled && !m.heard {
				f.wanted = append(f.wanted, id)
			}
		}
	}
	f.began, f.reported, f.total, f.done, f.blocks = now, now, len(f.wanted), 0, 0
	return len(f.wanted)
}

func (f *fill) want(id chainhash.Hash) {
	f.wanted = append(f.wanted, id)
	f.total++
}

// askBodies asks for the next chunks. The walk's first block goes before: it is the soonest price.
func (n *Node) askBodies(now time.Time) {
	f := &n.fill
	for len(f.wanted) > 0 && f.asking < fillers && len(f.backlog) < mostBacklog && !now.Before(f.retry) {
		if n.sync.reach.holds() || n.chain.walk.active && n.chain.walk.steps == 0 {
			return
		}
		ids := n.nextChunk()
		f.asking++
		n.question(func(ctx context.Context) func() {
			got, old, err := n.getBodies(ctx, ids, now)
			return func() { n.gotBodies(ids, got, old, err) }
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

// getBodies asks first when they came, and then only for those that are of use.
func (n *Node) getBodies(ctx context.Context, ids []chainhash.Hash, now time.Time) (got []fetched, old []chainhash.Hash, err error) {
	times, err := n.rpc.EntryTimes(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	var recent []chainhash.Hash
	var at []time.Time
	for i, t := range times {
		switch {
		case t.IsZero(): // it has left the mempool, which we will hear
		case now.Sub(t) > n.opts.Window:
			old = append(old, ids[i])
		default:
			recent, at = append(recent, ids[i]), append(at, t)
		}
	}
	txs, err := n.rpc.Transactions(ctx, recent)
	if err != nil {
		return nil, nil, err
	}
	for i, tx := range txs {
		if tx != nil {
			got = append(got, fetched{tx: tx, at: at[i], pooled: true})
		}
	}
	return got, old, nil
}

func (n *Node) gotBodies(asked []chainhash.Hash, got []fetched, old []chainhash.Hash, err error) {
	f := &n.fill
	f.asking--
	if err != nil {
		n.complain(err)
		f.wanted = append(f.wanted, asked...)
		f.retry = afterRetry(time.Now())
		return
	}
	f.done += len(asked)
	f.backlog = append(f.backlog, got...)
	for _, id := range old {
		if n.pool.lacks(id) {
			n.pool.hear(id) // it is not wanted
		}
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
	if len(f.wanted) == 0 && f.asking == 0 && !n.chain.walk.active && len(f.backlog) == 0 {
		if f.total > 0 || f.blocks > 0 {
			n.log.Info("the window is filled", "transactions", f.total, "blocks", f.blocks, "took", took.Round(time.Millisecond))
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
