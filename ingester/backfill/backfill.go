// Package backfill computes the price of each block of a node's chain, and writes it to the history in Redis.
//
// Data flows one way: node -> blocks -> evidence -> price -> history. Workers fetch blocks and turn them into evidence, in
// any order; one goroutine follows the price from block to block, and writes. All progress is in Redis, with what was
// written: a run that ends for whatever reason is continued by the next.
package backfill

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/price"
	"sightglass/shared/history"
	"sightglass/shared/redisurl"
)

// Options of a Backfill.
type Options struct {
	Node    *bitcoind.Client
	Redis   redis.UniversalClient
	Log     *slog.Logger
	Metrics *Metrics

	// Workers is how many goroutines fetch and read blocks. With Rest each of them rests as long as it has worked, so that a
	// live price in the same process is not late. (A lower priority of their threads would make it late: the runtime waits
	// for all threads at times.)
	Workers int
	Rest    bool

	// Holder is a name for the lease that no other program has; the same for all runs of a program. Empty: a new one.
	Holder string

	// PriceHint is the price at the newest block to compute, right within 10 %. 0: the history's last block has it, or the
	// newest blocks' payments show it.
	PriceHint price.USD

	// Report is called after each written day, from one goroutine at a time. It may be nil.
	Report func(Report)
}

// A Report says how far a run has come.
type Report struct {
	Block       history.Block // the last one written
	Done, Total int64         // blocks of this run
	Took        time.Duration // since the run's start
}

// The kinds of errors of Run, beyond those of package bitcoind, of Redis, and history.ErrNewer.
var (
	ErrNetwork = errors.New("the history is of another network")
	ErrLease   = fmt.Errorf("another backfill is writing this history, or was killed less than %v ago", lease)
	ErrNoPrice = errors.New("no sure price to start from")
	ErrRange   = errors.New("no such blocks")
)

const (
	// lease is how long another backfill waits after this one was killed.
	lease = 30 * time.Second

	// recent is the age up to which blocks are written one by one, and not as candles alone. The blocks series goes back 30
	// days; the rest is for the days that blocks are faster.
	recent = 30 * 24 * time.Hour

	// overlap is how many blocks are written again when new ones are added: their prices then take account of what came after,
	// and a reorganisation replaces them. The filter begins warmUp blocks earlier, so that it knows what came before as well.
	overlap = aheadBlocks
	warmUp  = 36

	// mostOff is by which factor the history's last price may be off the hint without a warning.
	mostOff = 1.25

	// mostPerDay is more blocks than a day has since 2011: 144 on average, and 190 when the hash rate rises fast.
	mostPerDay = 250
)

// run is one run.
type run struct {
	Options
	chain    bitcoind.Chain
	progress *history.Progress // nil before the first day
	unread   atomic.Int32      // blocks in a row that could not be read
	began    time.Time
	done     int64
	total    int64
}

// Run computes all blocks from one height to another that the history has not, and those between them and the ones that
// it has: the history's blocks are always consecutive. First come those after the history's, in the order of time; then
// those before, backward from the oldest. to may be above the tip: it is then the tip. A pruned node gives what it has.
// The errors are of this package, of package bitcoind, or Redis's; ctx's if that ends.
func Run(ctx context.Context, o Options, from, to int64) (err error) {
	o.Holder = cmp.Or(o.Holder, rand.Text())
	r := &run{Options: o, began: time.Now()}
	if r.chain, err = o.Node.Chain(ctx); err != nil {
		return err
	}
	if to = min(to, int64(r.chain.Blocks)); from > to {
		return fmt.Errorf("%w: from block %d to %d; the node's chain ends at %d", ErrRange, from, to, r.chain.Blocks)
	}
	if acquired, err := history.Acquire(ctx, o.Redis, r.Holder, lease); err != nil || !acquired {
		return cmp.Or(err, ErrLease)
	}
	defer r.release(context.WithoutCancel(ctx))
	g, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	g.Go(func() error { return r.renew(ctx) })
	g.Go(func() error {
		err := r.fill(ctx, from, to)
		cancel(errDone)
		return err
	})
	return g.Wait()
}

// errDone ends the lease's renewal.
var errDone = errors.New("done")

// renew renews the lease until ctx ends. Another holder ends the run.
func (r *run) renew(ctx context.Context) error {
	ticker := time.NewTicker(lease / 6)
	defer ticker.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		acquired, err := history.Acquire(ctx, r.Redis, r.Holder, lease)
		switch failed++; {
		case ctx.Err() != nil:
			return nil
		case err == nil && !acquired:
			return ErrLease
		case err == nil:
			failed = 0
		case failed >= 3:
			return err
		}
	}
}

func (r *run) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = history.Release(ctx, r.Redis, r.Holder) // else it expires
}

func (r *run) fill(ctx context.Context, from, to int64) (err error) {
	if err := history.Upgrade(ctx, r.Redis); err != nil {
		return err
	}
	if r.progress, err = history.ReadProgress(ctx, r.Redis); err != nil {
		return err
	}
	if r.progress != nil && r.progress.Network != r.chain.Network {
		return fmt.Errorf("%w: it is of %s, and the node is on %s; delete %s and the history's other keys, or use another Redis",
			ErrNetwork, r.progress.Network, r.chain.Network, history.KeyProgress)
	}
	if p := r.progress; p != nil && p.From > int64(r.chain.Blocks) {
		return fmt.Errorf("%w: the history begins with block %d, and the node's chain ends at %d: is the node still syncing?", ErrRange, p.From, r.chain.Blocks)
	}
	first := int64(0)
	if r.chain.Pruned {
		first = int64(r.chain.PruneHeight)
	}
	if to < first {
		return fmt.Errorf("%w: the node has pruned the blocks below %d", ErrRange, first)
	}
	if r.progress != nil && r.progress.To+1 < first {
		r.Log.Warn("the node has pruned blocks that the history has not: there is a gap", "after", r.progress.To, "before", first)
		r.progress = nil
	}
	from = max(from, first)
	if p := r.progress; p != nil {
		r.total = max(0, to-p.To) + max(0, p.From-from)
		if to > p.To {
			if err := r.forward(ctx, first, to); err != nil {
				return err
			}
		}
	} else {
		r.total = to - from + 1
	}
	return r.backward(ctx, from, to)
}

// forward computes the blocks after the history's.
func (r *run) forward(ctx context.Context, first, to int64) error {
	p := *r.progress
	start, near := max(p.To-overlap-warmUp, p.From, first), price.USD(p.ToPrice)
	if r.PriceHint > 0 && to-p.To < mostPerDay {
		if off := float64(r.PriceHint / near); off > mostOff || off < 1/mostOff {
			r.Log.Warn("the history's last blocks have another price than the hint or the live price; if they are wrong, delete "+
				history.KeyProgress+" and they are computed again", "height", p.To, "price", p.ToPrice, "hint", r.PriceHint.Cents())
		}
		near = r.PriceHint
	}
	t, err := r.timeOf(ctx, p.To)
	if err != nil {
		return err
	}
	wanted := func(b history.Block) bool { return b.Height > p.To-overlap }
	if time.Since(time.Unix(t, 0)) > recent-24*time.Hour {
		// The last day is written as a candle alone, so it needs all its blocks.
		start = max(p.To-mostPerDay, p.From, first)
		wanted = func(b history.Block) bool { return b.Timestamp/history.Day >= t/history.Day }
	}
	return r.pass(ctx, start, to, near, wanted)
}

// backward computes the blocks before the history's, or all if it has none.
func (r *run) backward(ctx context.Context, from, to int64) error {
	p := r.progress
	if p == nil {
		start, near, err := r.start(ctx, from, to)
		if err != nil {
			return err
		}
		return r.pass(ctx, start, from, near, func(b history.Block) bool { return b.Height <= to })
	}
	if from >= p.From {
		return nil
	}
	t, err := r.timeOf(ctx, p.From)
	if err != nil {
		return err
	}
	before, err := r.timeOf(ctx, p.From-1)
	if err != nil {
		return err
	}
	day := t / history.Day
	if before/history.Day < day { // the history begins with a whole day
		return r.pass(ctx, min(p.From+overlap, p.To), from, price.USD(p.FromPrice), func(b history.Block) bool { return b.Height < p.From })
	}
	return r.pass(ctx, min(p.From+mostPerDay, p.To), from, price.USD(p.FromPrice), func(b history.Block) bool { return b.Timestamp/history.Day <= day })
}

// HeightAt returns the height of the first block of the node's chain at a time or after it; the one above the
// tip if all are before. The
// chain is taken to begin above a block that the node does not know.
func HeightAt(ctx context.Context, node *bitcoind.Client, at time.Time) (int64, error) {
	chain, err := node.Chain(ctx)
	if err != nil {
		return 0, err
	}
	height := sort.Search(chain.Blocks+1, func(height int) bool {
		var headers []bitcoind.Header
		if err == nil {
			headers, err = headersOf(ctx, node, int64(height), int64(height))
		}
		if bitcoind.AboutOne(err) {
			err = nil
			return false
		}
		return err != nil || !headers[0].Time.Before(at)
	})
	return int64(height), err
}

func headersOf(ctx context.Context, node *bitcoind.Client, from, to int64) ([]bitcoind.Header, error) {
	hashes, err := node.Hashes(ctx, from, to)
	if err != nil {
		return nil, err
	}
	return node.Headers(ctx, hashes)
}

// Temporary reports whether the next run may succeed where one has returned the error.
func Temporary(err error) bool {
	for _, permanent := range []error{
		ErrNetwork, ErrNoPrice, ErrRange, history.ErrNewer, history.ErrInvalid, price.ErrOptions,
		bitcoind.ErrCredentials, bitcoind.ErrForbidden, bitcoind.ErrMethod, bitcoind.ErrResponse,
	} {
		if errors.Is(err, permanent) {
			return false
		}
	}
	return true
}

// Explain adds to an error of Redis what to do about it; those of the node say so themselves.
func Explain(err error) error {
	var rpc *bitcoind.Error
	for _, kind := range []error{
		bitcoind.ErrUnreachable, bitcoind.ErrBusy, bitcoind.ErrWarmingUp, bitcoind.ErrCredentials, bitcoind.ErrForbidden, bitcoind.ErrPruned,
		bitcoind.ErrNotFound, bitcoind.ErrResponse, bitcoind.ErrMethod, ErrLease,
	} {
		if errors.Is(err, kind) || errors.As(err, &rpc) {
			return err
		}
	}
	return redisurl.Explain(err)
}
