package history

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/redistest"
)

// midnight is when a day begins, and with it an hour.
const midnight = 1556755200

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAddRecent_KeepsCandlesOfBlocks: an hour with blocks keeps its candle, and the day combines both kinds.
func TestAddRecent_KeepsCandlesOfBlocks(t *testing.T) {
	client := redistest.Start(t)
	ofBlocks := Candle{midnight + Hour, 50, 60, 40, 55, 0.5, 6, 700}
	before := Candle{Start: midnight, Open: 9, High: 9, Low: 9, Close: 9, Confidence: 0.5}
	write(t, client, Hours, before, ofBlocks)
	write(t, client, Recent, entry(midnight+Hour-10, 1), entry(midnight+Hour, 2), entry(midnight+2*Hour-10, 3),
		entry(midnight+2*Hour, 4), entry(midnight+3*Hour-1, 6), entry(midnight+3*Hour, 5))
	for range 2 {
		must(t, AddRecent(t.Context(), client, midnight+Hour+7)) // any time of the hour
		expect(t, client, Hours, before, ofBlocks,
			Candle{midnight + 2*Hour, 4, 6, 4, 6, 0.5, 0, 0}, Candle{midnight + 3*Hour, 5, 5, 5, 5, 0.5, 0, 0})
		expect(t, client, Days, Candle{midnight, 9, 60, 4, 5, 0.5, 6, 700})
	}
	must(t, AddRecent(t.Context(), client, midnight))
	expect(t, client, Days, Candle{midnight, 1, 60, 1, 5, 0.5, 6, 700})
	must(t, AddRecent(t.Context(), client, midnight+9*Hour)) // no entries
	expect(t, client, Days, Candle{midnight, 1, 60, 1, 5, 0.5, 6, 700})
}

// TestAddRecent_AcrossMidnight: both days are rebuilt.
func TestAddRecent_AcrossMidnight(t *testing.T) {
	client := redistest.Start(t)
	write(t, client, Recent, entry(midnight-10, 1), entry(midnight, 2))
	must(t, AddRecent(t.Context(), client, midnight-10))
	expect(t, client, Days, Candle{midnight - Day, 1, 1, 1, 1, 0.5, 0, 0}, Candle{midnight, 2, 2, 2, 2, 0.5, 0, 0})
}

// TestAddBlocks_HourInTwoCalls: in either order, and repeatedly.
func TestAddBlocks_HourInTwoCalls(t *testing.T) {
	first := []Block{block(100, midnight+10, 5), block(101, midnight+20, 7)}
	second := []Block{block(102, midnight+30, 4), block(103, midnight+Hour, 6)}
	for name, calls := range map[string][][]Block{
		"forwards": {first, second}, "backwards": {second, first}, "repeated": {first, second, first, second, nil},
		"one by one": {first[1:], second[1:], first[:1], second[:1]}, "at once": {append(first[:2:2], second...)},
	} {
		t.Run(name, func(t *testing.T) {
			client := redistest.Start(t)
			for _, blocks := range calls {
				must(t, AddBlocks(t.Context(), client, blocks))
			}
			expect(t, client, Blocks, first[0], first[1], second[0], second[1])
			expect(t, client, Hours, Candle{midnight, 5, 7, 4, 4, 0.5, 3, 102}, Candle{midnight + Hour, 6, 6, 6, 6, 0.5, 1, 103})
			expect(t, client, Days, Candle{midnight, 5, 7, 4, 6, 0.5, 4, 103})
		})
	}
}

// TestAddBlocks_Reorganisation: the candles of the replaced block are rebuilt, also in an hour that has no other block now.
func TestAddBlocks_Reorganisation(t *testing.T) {
	client := redistest.Start(t)
	must(t, AddBlocks(t.Context(), client, []Block{
		block(100, midnight+10, 5), block(101, midnight+20, 9), block(102, midnight+Hour+10, 8), block(103, midnight+2*Hour, 7),
	}))
	for range 2 {
		must(t, AddBlocks(t.Context(), client, []Block{block(101, midnight+2*Hour+20, 6), block(102, midnight+2*Hour+10, 4)}))
		expect(t, client, Blocks, block(100, midnight+10, 5), block(101, midnight+2*Hour+20, 6), block(102, midnight+2*Hour+10, 4), block(103, midnight+2*Hour, 7))
		expect(t, client, Hours, Candle{midnight, 5, 5, 5, 5, 0.5, 1, 100}, Candle{midnight + 2*Hour, 6, 7, 4, 7, 0.5, 3, 103})
		expect(t, client, Days, Candle{midnight, 5, 7, 4, 7, 0.5, 4, 103})
	}
}

// TestAddBlocks_WithoutPrice: a block without a price replaces no candle of entries.
func TestAddBlocks_WithoutPrice(t *testing.T) {
	client := redistest.Start(t)
	ofEntries := Candle{Start: midnight, Open: 9, High: 9, Low: 9, Close: 9, Confidence: 0.5}
	write(t, client, Hours, ofEntries)
	for range 2 {
		must(t, AddBlocks(t.Context(), client, []Block{block(100, midnight+10, 0)}))
		expect(t, client, Blocks, block(100, midnight+10, 0))
		expect(t, client, Hours, ofEntries)
		expect(t, client, Days, ofEntries)
	}
}

func TestAddDays_HoursAndDays(t *testing.T) {
	client := redistest.Start(t)
	blocks := []Block{
		block(100, midnight+10, 5), block(101, midnight+5*Hour, 7), block(102, midnight+5*Hour+1, 0), block(103, midnight+Day+10, 3),
	}
	for range 2 {
		must(t, AddDays(t.Context(), client, blocks))
		expect(t, client, Hours, Candle{midnight, 5, 5, 5, 5, 0.5, 1, 100}, Candle{midnight + 5*Hour, 7, 7, 7, 7, 0.5, 1, 101},
			Candle{midnight + Day, 3, 3, 3, 3, 0.5, 1, 103})
		expect(t, client, Days, Candle{midnight, 5, 7, 5, 7, 0.5, 2, 101}, Candle{midnight + Day, 3, 3, 3, 3, 0.5, 1, 103})
		expect(t, client, Blocks)
	}
	must(t, AddDays(t.Context(), client, nil))
}

// fillOld fills Redis with two days of entries, as an ingester of schema 1 wrote them: the price is the number of the slot.
func fillOld(t *testing.T, client *redis.Client) {
	t.Helper()
	_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for i := range MaxRecent {
			at, price := midnight+12*Hour+i*Slot, float64(i+1)
			p.ZAdd(t.Context(), "sightglass:history", redis.Z{
				Score: float64(at), Member: fmt.Sprintf("[%d,%.2f,%.2f,%.2f,%.3f]", at, price, price*0.99, price*1.01, 0.95),
			})
		}
		return nil
	})
	must(t, err)
}

// TestUpgrade_FromSchema1: two days of entries become candles, once.
func TestUpgrade_FromSchema1(t *testing.T) {
	client := redistest.Start(t)
	fillOld(t, client)
	if n, err := CheckSchema(t.Context(), client); n != 1 || err != nil {
		t.Errorf("got schema %d, %v, want 1", n, err)
	}
	expectRows := func(key string, count int64, first, last string) {
		t.Helper()
		rows := client.ZRange(t.Context(), key, 0, -1).Val()
		if int64(len(rows)) != count || rows[0] != first || rows[count-1] != last {
			t.Errorf("%s: got %d rows, %s to %s\nwant %d, %s to %s", key, len(rows), rows[0], rows[len(rows)-1], count, first, last)
		}
	}
	for range 2 {
		must(t, Upgrade(t.Context(), client))
		expectRows(KeyHours, 48, "[1556798400,1.00,360.00,1.00,360.00,0.950,0,0]", "[1556967600,16921.00,17280.00,16921.00,17280.00,0.950,0,0]")
		expectRows(KeyDays, 3, "[1556755200,1.00,4320.00,1.00,4320.00,0.950,0,0]", "[1556928000,12961.00,17280.00,12961.00,17280.00,0.950,0,0]")
		expectRows(KeyRecent, MaxRecent, "[1556798400,1.00,0.99,1.01,0.950]", "[1556971190,17280.00,17107.20,17452.80,0.950]")
		if n, err := CheckSchema(t.Context(), client); n != Schema || err != nil {
			t.Errorf("got schema %d, %v, want %d", n, err, Schema)
		}
		must(t, client.Del(t.Context(), KeyRecent).Err()) // a second call must not read it again
		fillOld(t, client)
	}
}

func TestUpgrade_EmptyRedis(t *testing.T) {
	client := redistest.Start(t)
	must(t, Upgrade(t.Context(), client))
	if keys := client.Keys(t.Context(), "*").Val(); len(keys) != 1 || client.Get(t.Context(), KeySchema).Val() != "2" {
		t.Errorf("got keys %v, want the schema", keys)
	}
}

// TestUpgrade_RefusesNewer: nothing is changed.
func TestUpgrade_RefusesNewer(t *testing.T) {
	client := redistest.Start(t)
	write(t, client, Recent, entry(midnight, 1))
	for _, schema := range []string{"3", "0", "-1", "two", "99999999999999999999"} {
		must(t, client.Set(t.Context(), KeySchema, schema, 0).Err())
		if err := Upgrade(t.Context(), client); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "update it, or delete the history") {
			t.Errorf("schema %s: got %v, want an ErrNewer that says what to do", schema, err)
		}
		if got := client.Get(t.Context(), KeySchema).Val(); got != schema {
			t.Errorf("got schema %s, want it unchanged", got)
		}
	}
	expect(t, client, Hours)
}

func TestProgress_RoundTrip(t *testing.T) {
	client := redistest.Start(t)
	if p, err := ReadProgress(t.Context(), client); p != nil || err != nil {
		t.Errorf("got %v, %v, want no progress", p, err)
	}
	want := Progress{Network: "main", From: 350_000, To: 925_000, FromPrice: 250.5, ToPrice: 95_000.25}
	must(t, want.Write(t.Context(), client))
	if got, err := ReadProgress(t.Context(), client); err != nil || *got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestProgress_RejectsBroken(t *testing.T) {
	client := redistest.Start(t)
	for _, text := range []string{
		"", "nonsense", `[1,2]`, `{"from":5,"to":4}`, `{"from":-1,"to":4}`, `{"from":1,"to":9999999999}`, `{"from":1.5,"to":4}`,
		`{"from":1,"to":4,"from_price":-1}`, `{"from":1,"to":4,"to_price":1e13}`, `{"from":1,"to":4,"network":5}`,
	} {
		must(t, client.Set(t.Context(), KeyProgress, text, 0).Err())
		if p, err := ReadProgress(t.Context(), client); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "delete it") {
			t.Errorf("%s: got %v, %v, want an ErrInvalid that says what to do", text, p, err)
		}
	}
	must(t, client.Del(t.Context(), KeyProgress).Err())
	must(t, client.LPush(t.Context(), KeyProgress, "a list").Err())
	if _, err := ReadProgress(t.Context(), client); err == nil || errors.Is(err, ErrInvalid) {
		t.Errorf("got %v, want redis's error", err)
	}
}

// TestLease_OneHolder: until it releases the lease, or the lease ends by Redis's clock.
func TestLease_OneHolder(t *testing.T) {
	client := redistest.Start(t)
	expectAcquired := func(holder string, want bool) {
		t.Helper()
		if got, err := Acquire(t.Context(), client, holder, time.Minute); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", holder, got, err, want)
		}
	}
	expectAcquired("first", true)
	expectAcquired("second", false)
	must(t, client.PExpire(t.Context(), KeyLease, 30*time.Second).Err())
	expectAcquired("second", false) // which renews nothing
	if ttl := client.PTTL(t.Context(), KeyLease).Val(); ttl <= 0 || ttl > 30*time.Second {
		t.Errorf("got a lease of %v, want 30 s at most", ttl)
	}
	expectAcquired("first", true) // which renews it
	if ttl := client.PTTL(t.Context(), KeyLease).Val(); ttl <= 30*time.Second || ttl > time.Minute {
		t.Errorf("got a lease of %v, want a minute", ttl)
	}

	must(t, Release(t.Context(), client, "second"))
	expectAcquired("second", false)
	must(t, Release(t.Context(), client, "first"))
	must(t, Release(t.Context(), client, "first"))
	expectAcquired("second", true)

	must(t, client.PExpireAt(t.Context(), KeyLease, time.Unix(1, 0)).Err()) // its end has passed by Redis's clock
	expectAcquired("first", true)
}
