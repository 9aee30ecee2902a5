package history

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// AddRecent rebuilds the candles of the hours since a time, in unix seconds, from the recent series, and the days that
// they are in. A candle of blocks is kept: what was computed from a whole block lags less. It is idempotent. Once for all
// of the series, it upgrades what schema 1 left.
func AddRecent(ctx context.Context, client redis.Cmdable, since int64) error {
	since = since / Hour * Hour
	entries, _, err := Recent.Read(ctx, client, since, 1<<52)
	if err != nil || len(entries) == 0 {
		return err
	}
	stored, _, err := Hours.Read(ctx, client, since, 1<<52)
	if err != nil {
		return err
	}
	ofBlocks := make(map[int64]bool)
	for _, c := range stored {
		ofBlocks[c.Start] = c.Blocks > 0
	}
	var hours []Candle
	for _, c := range CandlesOfEntries(entries, Hour) {
		if !ofBlocks[c.Start] {
			hours = append(hours, c)
		}
	}
	return writeHours(ctx, client, hours)
}

// AddBlocks writes blocks of the last 30 days in the order of their heights, rebuilds the candles of their hours from the
// blocks series, and the days that they are in. It is idempotent.
func AddBlocks(ctx context.Context, client redis.Cmdable, blocks []Block) error {
	if len(blocks) == 0 {
		return nil
	}
	if err := Blocks.Write(ctx, client, blocks...); err != nil {
		return err
	}
	// Far more blocks than an hour has, on either side, are all that may be in the same hours.
	const around = 100
	near, _, err := Blocks.Read(ctx, client, max(blocks[0].Height-around, 0), blocks[len(blocks)-1].Height+around)
	if err != nil {
		return err
	}
	added := make(map[int64]bool)
	for _, b := range blocks {
		added[b.Timestamp/Hour] = true
	}
	var hours []Candle
	for _, c := range CandlesOfBlocks(near, Hour) {
		if added[c.Start/Hour] {
			hours = append(hours, c)
		}
	}
	return writeHours(ctx, client, hours)
}

// writeHours writes candles of hours, oldest first, and rebuilds the days that they are in.
func writeHours(ctx context.Context, client redis.Cmdable, hours []Candle) error {
	if len(hours) == 0 {
		return nil
	}
	if err := Hours.Write(ctx, client, hours...); err != nil {
		return err
	}
	first, last := hours[0].Start/Day*Day, hours[len(hours)-1].Start/Day*Day
	all, _, err := Hours.Read(ctx, client, first, last+Day-1)
	if err != nil {
		return err
	}
	return Days.Write(ctx, client, Combine(all, Day)...)
}

// AddDays writes the candles of whole days of blocks, in the order of their heights: the hours, where the series goes
// back so far, and the days.
func AddDays(ctx context.Context, client redis.Cmdable, blocks []Block) error {
	if err := Hours.Write(ctx, client, CandlesOfBlocks(blocks, Hour)...); err != nil {
		return err
	}
	return Days.Write(ctx, client, CandlesOfBlocks(blocks, Day)...)
}
