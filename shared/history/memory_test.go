package history

import (
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/redistest"
)

// maxMemory is what docs/redis.md promises for the whole history, in bytes.
const maxMemory = 10_000_000

// TestMemory_FullHistory fills all series to their limits, with the digits of today's and tomorrow's prices.
func TestMemory_FullHistory(t *testing.T) {
	client := redistest.Start(t)
	const genesis, now, price = 1_231_006_505, 1_795_450_000, 123_456.78
	wobble := func(i int64) float64 { return price + float64(i%9973)*3.21 }
	entries, blocks := make([]Entry, MaxRecent), make([]Block, MaxBlocks)
	for i := range entries {
		at := now - int64(len(entries)-i)*Slot
		entries[i] = Entry{Timestamp: at, Price: wobble(at), Low: wobble(at) * 0.99, High: wobble(at) * 1.01, Confidence: 0.957}
	}
	for i := range blocks {
		at := int64(now - (len(blocks)-i)*600)
		blocks[i] = Block{Entry{at, wobble(at), wobble(at) * 0.99, wobble(at) * 1.01, 0.957}, int64(950_000 + i)}
	}
	candles := func(n, from, length int64) []Candle {
		all := make([]Candle, n)
		for i := range all {
			start := (from/length + int64(i)) * length
			usd := wobble(start)
			all[i] = Candle{start, usd, usd * 1.02, usd * 0.98, usd * 1.01, 0.957, length / 600, int64(900_000 + i)}
		}
		return all
	}
	write(t, client, Recent, entries...)
	write(t, client, Blocks, blocks...)
	write(t, client, Hours, candles(MaxHours, now-MaxHours*Hour, Hour)...)
	write(t, client, Days, candles(MaxDays, genesis, Day)...)
	var sum, rows int64
	for key, full := range map[string]int64{KeyRecent: MaxRecent, KeyBlocks: MaxBlocks, KeyHours: MaxHours, KeyDays: MaxDays} {
		if n := client.ZCard(t.Context(), key).Val(); n != full {
			t.Errorf("%s: got %d rows, want %d", key, n, full)
		}
		sent := number(t, client, "total_net_output_bytes")
		must(t, client.ZRangeArgsWithScores(t.Context(), redis.ZRangeArgs{Key: key, Start: 0, Stop: maxScore, ByScore: true}).Err())
		t.Logf("%s: reading it takes %d bytes", key, number(t, client, "total_net_output_bytes")-sent)
		n, err := client.MemoryUsage(t.Context(), key, 0).Result()
		must(t, err)
		t.Logf("%s: %d rows, %d bytes, %d a row", key, full, n, n/full)
		sum, rows = sum+n, rows+full
	}
	t.Logf("the whole history: %d rows, %d bytes", rows, sum)
	if sum > maxMemory {
		t.Errorf("got %d bytes, want %d at most", sum, maxMemory)
	}
}

// number returns a field of the section stats of INFO.
func number(t *testing.T, client *redis.Client, field string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(client.InfoMap(t.Context(), "stats").Item("Stats", field), 10, 64)
	must(t, err)
	return n
}
