package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"golang.org/x/sync/errgroup"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/payment"
	"sightglass/ingester/price"
)

const (
	// chunkBlocks is how many blocks a worker reads at a time, with one background for their amounts: 2 h 40 min, about the
	// window of the live price.
	chunkBlocks = 16

	// medianSide is how many blocks on either side of one its time is the median of. A miner's clock may be two hours off.
	// Where the times of the eleven are in order, the median is the block's own time. The "median time past" of consensus is
	// the same median five blocks earlier: a block's would be 50 minutes before it.
	medianSide = 5

	// tries is how often a block is requested that cannot be read, before it counts as one without payments. More than
	// mostUnread of them in a row are no damage to a block, but a node that has not all blocks.
	tries      = 3
	mostUnread = 3
)

// A block is what is needed of one.
type block struct {
	height   int64
	time     int64 // unix seconds
	evidence *price.Evidence
}

// timeOf returns the time of a block as in the history, in unix seconds.
func (r *run) timeOf(ctx context.Context, height int64) (int64, error) {
	times, _, err := r.headers(ctx, height, height)
	if err != nil {
		return 0, err
	}
	return times[0], nil
}

// headers returns the times and the hashes of the blocks from one height to another, both included.
func (r *run) headers(ctx context.Context, from, to int64) (times []int64, hashes []chainhash.Hash, err error) {
	first, last := max(from-medianSide, 0), min(to+medianSide, int64(r.chain.Blocks))
	if hashes, err = r.Node.Hashes(ctx, first, last); bitcoind.AboutOne(err) { // a node that does not know what is below
		first = from
		hashes, err = r.Node.Hashes(ctx, first, last)
	}
	if err != nil {
		return nil, nil, err
	}
	headers, err := r.Node.Headers(ctx, hashes)
	if err != nil {
		return nil, nil, err
	}
	around := make([]int64, 0, 2*medianSide+1)
	for i := from - first; i <= to-first; i++ {
		side := min(medianSide, i, last-first-i)
		around = around[:0]
		for _, h := range headers[i-side : i+side+1] {
			around = append(around, h.Time.Unix())
		}
		slices.Sort(around)
		times = append(times, around[side])
	}
	return times, hashes[from-first : to-first+1], nil
}

// read reads blocks from one height to another, both included.
func (r *run) read(ctx context.Context, weigher *price.BlockWeigher, from, to int64) ([]block, error) {
	times, hashes, err := r.headers(ctx, from, to)
	if err != nil {
		return nil, err
	}
	blocks := make([]block, len(hashes))
	amounts := make([][]payment.Satoshi, len(hashes))
	for i := range blocks {
		began := time.Now()
		blocks[i] = block{height: from + int64(i), time: times[i]}
		if amounts[i], err = r.payments(ctx, blocks[i].height, hashes[i]); err != nil {
			return nil, err
		}
		if r.Rest {
			select {
			case <-time.After(time.Since(began)):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	for i, e := range weigher.Weigh(amounts) {
		blocks[i].evidence = e
	}
	return blocks, nil
}

// payments returns the payment amounts of a block; none if it cannot be read.
func (r *run) payments(ctx context.Context, height int64, hash chainhash.Hash) ([]payment.Satoshi, error) {
	for try := 1; ; try++ {
		msg, err := r.Node.FastBlock(ctx, hash)
		switch {
		case err == nil:
			r.Metrics.blocks.Inc()
			r.unread.Store(0)
			return slices.Concat(payment.All(msg.Transactions)...), nil
		case ctx.Err() != nil, !bitcoind.AboutOne(err), errors.Is(err, bitcoind.ErrPruned), errors.Is(err, bitcoind.ErrNotFound):
			return nil, fmt.Errorf("block %d: %w", height, err)
		case try == tries && r.unread.Add(1) > mostUnread:
			return nil, fmt.Errorf("block %d and others before it cannot be read: has the node all blocks? %w", height, err)
		case try >= tries:
			r.Metrics.skipped.Inc()
			r.Log.Warn("skipped a block that cannot be read", "height", height, "block", hash, "tries", tries, "err", err)
			return nil, nil
		}
	}
}

// A chunk is a list of consecutive blocks that a worker reads.
type chunk struct {
	from, to int64
	blocks   chan []block // capacity 1
}

// readAll reads the blocks from start to end, which may be the lower one, and passes them to use in that order. Workers
// read ahead of it by a few chunks.
func (r *run) readAll(ctx context.Context, start, end int64, use func([]block) error) error {
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan *chunk)
	inOrder := make(chan *chunk, r.Workers)
	g.Go(func() error {
		defer close(work)
		defer close(inOrder)
		for at := start; start <= end && at <= end || start > end && at >= end; {
			c := &chunk{from: at, to: min(at+chunkBlocks-1, end), blocks: make(chan []block, 1)}
			if start > end {
				c.from, c.to = max(at-chunkBlocks+1, end), at
				at -= chunkBlocks
			} else {
				at += chunkBlocks
			}
			for _, to := range []chan *chunk{inOrder, work} {
				select {
				case to <- c:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for range r.Workers {
		g.Go(func() error { return r.work(ctx, work) })
	}
	g.Go(func() error {
		for c := range inOrder {
			select {
			case blocks := <-c.blocks:
				if start > end {
					slices.Reverse(blocks)
				}
				if err := use(blocks); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}

// work reads chunks.
func (r *run) work(ctx context.Context, chunks <-chan *chunk) error {
	weigher, err := price.NewBlockWeigher(nil)
	if err != nil {
		return err
	}
	for c := range chunks {
		blocks, err := r.read(ctx, weigher, c.from, c.to)
		if err != nil {
			return err
		}
		c.blocks <- blocks
	}
	return nil
}

// start returns a height from which the price is known, and the price: the end of the range if that shows it, else the
// nearest of the blocks before, or the tip.
func (r *run) start(ctx context.Context, from, to int64) (height int64, near price.USD, err error) {
	if r.PriceHint > 0 {
		return to, r.PriceHint, nil
	}
	for k := range int64(startWindows) {
		for _, height := range []int64{to, int64(r.chain.Blocks)} {
			end := height - k*startBlocks
			if end < from {
				continue
			}
			e, err := r.cold(ctx, max(from, end-startBlocks+1), end)
			if err != nil {
				return 0, 0, err
			}
			if e.Status == price.Live && e.Confidence >= startConfidence {
				r.Log.Info("start price found", "height", end, "price", e.Price.Cents(), "confidence", e.Confidence)
				return height, e.Price, nil
			}
			if to == int64(r.chain.Blocks) {
				break
			}
		}
	}
	return 0, 0, fmt.Errorf("%w: neither the blocks before %d nor the newest show one; set --price-hint to the price at block %d", ErrNoPrice, to, to)
}

const (
	// A start price is that of the engine, cold, from as many blocks as its window has.
	startBlocks     = 18
	startWindows    = 8 // a day: within it the price moves by less than the 10 % that a hint may be off, nearly always
	startConfidence = 0.9
)

// cold returns the live engine's estimate from some blocks alone.
func (r *run) cold(ctx context.Context, from, to int64) (price.Estimate, error) {
	engine, err := price.New(price.Options{})
	if err != nil {
		return price.Estimate{}, err
	}
	times, hashes, err := r.headers(ctx, from, to)
	if err != nil {
		return price.Estimate{}, err
	}
	at := time.Time{}
	for i, hash := range hashes {
		amounts, err := r.payments(ctx, from+int64(i), hash)
		if err != nil {
			return price.Estimate{}, err
		}
		if t := time.Unix(times[i], 0); t.After(at) {
			at = t
		}
		engine.Add(at, amounts)
	}
	return engine.Estimate(at), nil
}
