package history

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/redistest"
)

// write writes rows to a series.
func write[T row](t testing.TB, client *redis.Client, s Series[T], rows ...T) {
	t.Helper()
	if err := s.Write(t.Context(), client, rows...); err != nil {
		t.Fatal(err)
	}
}

// expect fails unless a series has these rows, and no invalid ones.
func expect[T interface {
	row
	comparable
}](t *testing.T, client *redis.Client, s Series[T], want ...T) {
	t.Helper()
	got, invalid, err := s.ReadAll(t.Context(), client)
	if err != nil || len(invalid) > 0 {
		t.Fatalf("%s: got %v, invalid %v", s.Key, err, invalid)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n%+v\nwant\n%+v", s.Key, got, want)
	}
}

func entry(at int64, price float64) Entry {
	return Entry{Timestamp: at, Price: price, Low: price, High: price, Confidence: 0.5}
}

// TestSeries_WriteReplaces: one row of each slot, height, hour and day remains.
func TestSeries_WriteReplaces(t *testing.T) {
	client := redistest.Start(t)
	write(t, client, Recent, entry(100, 1), entry(109, 2), entry(110, 3))
	write(t, client, Recent, entry(115, 4), entry(99, 5), entry(141, 6)) // with a gap between them
	expect(t, client, Recent, entry(99, 5), entry(109, 2), entry(115, 4), entry(141, 6))
	write(t, client, Recent, entry(135, 7), entry(155, 8))
	expect(t, client, Recent, entry(99, 5), entry(109, 2), entry(115, 4), entry(135, 7), entry(141, 6), entry(155, 8))

	write(t, client, Blocks, block(7, 1000, 1), block(8, 900, 2))
	write(t, client, Blocks, block(7, 1100, 3))
	expect(t, client, Blocks, block(7, 1100, 3), block(8, 900, 2))

	hour := Candle{Start: 5 * Hour, Open: 2, High: 3, Low: 1, Close: 2, Confidence: 0.5}
	later := hour
	later.Close = 3
	write(t, client, Hours, hour)
	write(t, client, Hours, later, later)
	expect(t, client, Hours, later)

	day := Candle{Start: 5 * Day, Open: 2, High: 3, Low: 1, Close: 2, Confidence: 0.5}
	write(t, client, Days, day, day)
	expect(t, client, Days, day)
}

// TestSeries_WriteKeepsNewest: rows beyond the limit are removed, also those that were just written.
func TestSeries_WriteKeepsNewest(t *testing.T) {
	client := redistest.Start(t)
	s := Blocks
	s.Max = 5
	var all []Block
	for i := range int64(200) { // several transactions
		all = append(all, block(i, 1000+i, float64(i)))
	}
	write(t, client, s, all...)
	expect(t, client, s, all[195:]...)
	write(t, client, s, all[190], all[196])
	expect(t, client, s, all[195:]...)
}

// TestSeries_WriteInChunks: no transaction has more rows than MaxTransaction, and every row arrives.
func TestSeries_WriteInChunks(t *testing.T) {
	client := redistest.Start(t)
	const n = 2*MaxTransaction + 1
	var all []Entry
	for i := range int64(n) {
		all = append(all, entry(i*Slot, float64(i)))
	}
	if err := client.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	write(t, client, Recent, all...)
	write(t, client, Recent) // nothing
	stats := client.Info(t.Context(), "commandstats").Val()
	for command, calls := range map[string]int{"multi": 3, "exec": 3, "zadd": 3, "zremrangebyscore": 3, "zremrangebyrank": 3} {
		if want := fmt.Sprintf("cmdstat_%s:calls=%d,", command, calls); !strings.Contains(stats, want) {
			t.Errorf("got %s\nwant %s", stats, want)
		}
	}
	expect(t, client, Recent, all...)
}

func TestSeries_ReadRange(t *testing.T) {
	client := redistest.Start(t)
	write(t, client, Recent, entry(100, 1), entry(110, 2), entry(120, 3), entry(130, 4))
	for _, c := range []struct {
		from, to int64
		want     []Entry
	}{
		{110, 120, []Entry{entry(110, 2), entry(120, 3)}},
		{101, 129, []Entry{entry(110, 2), entry(120, 3)}},
		{0, 99, nil}, {131, maxScore, nil}, {120, 110, nil},
	} {
		if got, invalid, err := Recent.Read(t.Context(), client, c.from, c.to); err != nil || len(invalid) > 0 || !slices.Equal(got, c.want) {
			t.Errorf("%d to %d: got %v, %v, %v, want %v", c.from, c.to, got, invalid, err, c.want)
		}
	}
}

// TestSeries_ReadSkipsInvalid: an invalid row hides no other row.
func TestSeries_ReadSkipsInvalid(t *testing.T) {
	client := redistest.Start(t)
	write(t, client, Recent, entry(100, 1), entry(120, 3))
	for member, score := range map[string]float64{
		"": 105, "nonsense": 106, `["107",1,1,1,0]`: 107, "[9999,1.00,1.00,1.00,0.500]": 108, "[101,1.00,1.00,1.00,0.500]": 109.5,
		"[120,9.00,9.00,9.00,0.500]": 120, strings.Repeat("x", 1<<20): 130,
	} {
		if err := client.ZAdd(t.Context(), KeyRecent, redis.Z{Score: score, Member: member}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	got, invalid, err := Recent.ReadAll(t.Context(), client)
	if err != nil || len(invalid) != 7 || !slices.Equal(got, []Entry{entry(100, 1), entry(120, 3)}) {
		t.Errorf("got %v, invalid %v, %v, want the two valid rows and seven reasons", got, invalid, err)
	}
	for _, err := range invalid {
		if text := err.Error(); !strings.HasPrefix(text, KeyRecent+": invalid history: ") || len(text) > 300 {
			t.Errorf("got %q, want a short reason that names the key", text)
		}
	}
}

// TestWriteRecent_NoticesLoss: and it restores the last entry.
func TestWriteRecent_NoticesLoss(t *testing.T) {
	client := redistest.Start(t)
	writeRecent := func(before *Entry, entries ...Entry) (gone bool) {
		t.Helper()
		gone, err := WriteRecent(t.Context(), client, before, entries)
		if err != nil {
			t.Fatal(err)
		}
		return gone
	}
	first, second, third := entry(100, 1), entry(110, 2), entry(120, 3)
	if writeRecent(nil, first) || writeRecent(&first, second) {
		t.Error("got a lost history, want none")
	}
	if err := client.Del(t.Context(), KeyRecent).Err(); err != nil {
		t.Fatal(err)
	}
	if !writeRecent(&second, third) {
		t.Error("got no lost history, want one")
	}
	expect(t, client, Recent, second, third)
}
