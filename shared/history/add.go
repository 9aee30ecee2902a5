package history

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"
)

// AddRecent rebuilds the candles of the hours since a time, in unix seconds, from the recent series, and those of their days.
// Candles of blocks are kept, because a block's price lags less: payments in the mempool may have waited for hours. It is
// idempotent. Errors are Redis's.
//
// If a backfill adds a block of an hour at the same moment, the hour may keep its entries until its next block.
func AddRecent(ctx context.Context, client redis.Cmdable, since int64) error {
	since = since / Hour * Hour
	entries, _, err := Recent.Read(ctx, client, since, maxScore)
	if err != nil || len(entries) == 0 {
		return err
	}
	stored, _, err := Hours.Read(ctx, client, since, maxScore)
	if err != nil {
		return err
	}
	ofBlocks := make(map[int64]bool)
	for _, c := range stored {
		ofBlocks[c.Start] = c.Blocks > 0
	}
	hours := slices.DeleteFunc(CandlesOfEntries(entries, Hour), func(c Candle) bool { return ofBlocks[c.Start] })
	if err := Hours.Write(ctx, client, hours...); err != nil {
		return err
	}
	return rebuildDays(ctx, client, entries[0].Timestamp, entries[len(entries)-1].Timestamp)
}

// around is how many blocks on either side of a block can be in the same hour, with a wide margin.
const around = 100

// AddBlocks writes blocks of the last 30 days, in the order of their heights, and rebuilds the candles of their hours and
// days. It is idempotent, and continues after an error. A block replaces one of the same height, as after a reorganisation:
// the candles of the replaced one are rebuilt, too. Errors are Redis's.
func AddBlocks(ctx context.Context, client redis.Cmdable, blocks []Block) error {
	if len(blocks) == 0 {
		return nil
	}
	before, _, err := Blocks.Read(ctx, client, max(blocks[0].Height-around, 0), blocks[len(blocks)-1].Height+around)
	if err != nil {
		return err
	}
	all := make(map[int64]Block) // by height
	for _, b := range before {
		all[b.Height] = b
	}
	// The hours with a change, and whether they had a block with a price before.
	changed := make(map[int64]bool)
	for _, b := range blocks {
		if old := all[b.Height]; old.Price > 0 {
			changed[old.Timestamp/Hour*Hour] = true
		}
	}
	for _, b := range blocks {
		hour := b.Timestamp / Hour * Hour
		if _, ok := changed[hour]; !ok {
			changed[hour] = false
		}
		all[b.Height] = b
	}
	inOrder := slices.SortedFunc(maps.Values(all), func(a, b Block) int { return cmp.Compare(a.Height, b.Height) })
	hours := slices.DeleteFunc(CandlesOfBlocks(inOrder, Hour), func(c Candle) bool { _, ok := changed[c.Start]; return !ok })
	if err := Hours.Write(ctx, client, hours...); err != nil {
		return err
	}
	starts := slices.Sorted(maps.Keys(changed))
	for _, c := range hours {
		delete(changed, c.Start)
	}
	for start, hadPrice := range changed {
		if !hadPrice {
			continue // its candle, if it has one, is of entries
		}
		if err := Hours.remove(ctx, client, start, start).Err(); err != nil {
			return err
		}
	}
	if err := rebuildDays(ctx, client, starts[0], starts[len(starts)-1]); err != nil {
		return err
	}
	// They are last, so that a repeated call still finds which ones it replaces.
	return Blocks.Write(ctx, client, blocks...)
}

// rebuildDays rebuilds the candles of the days from one time to another, in unix seconds, from the hours.
func rebuildDays(ctx context.Context, client redis.Cmdable, from, to int64) error {
	hours, _, err := Hours.Read(ctx, client, from/Day*Day, to/Day*Day+Day-1)
	if err != nil {
		return err
	}
	return Days.Write(ctx, client, Combine(hours, Day)...)
}

// AddDays writes the candles of the blocks of whole days, in the order of their heights: the days, and the hours as far as
// that series goes back. It is idempotent. Errors are Redis's.
func AddDays(ctx context.Context, client redis.Cmdable, blocks []Block) error {
	if err := Hours.Write(ctx, client, CandlesOfBlocks(blocks, Hour)...); err != nil {
		return err
	}
	return Days.Write(ctx, client, CandlesOfBlocks(blocks, Day)...)
}
