package publish

import (
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
	"sightglass/shared/history"
	"sightglass/shared/logtest"
	"sightglass/shared/redistest"
)

// midnight is when a day begins, and with it an hour.
const midnight = 1556755200

// elected returns the writer of an ingester that was just elected.
func elected(client redis.UniversalClient, log io.Writer) *historyWriter {
	lost := prometheus.NewCounter(prometheus.CounterOpts{Name: "lost", Help: "In tests."})
	w := newHistoryWriter(client, lost, slog.New(slog.NewJSONHandler(log, nil)), prometheus.NewRegistry())
	w.elected()
	return w
}

// add adds an entry, whose price is in no interval that is too wide.
func add(w *historyWriter, at, price float64) {
	w.add(&contract.Snapshot{Timestamp: at, Price: price, Low: price, High: price, Confidence: 0.5, Status: contract.Live})
}

func candle(start int64, open, high, low, last float64) history.Candle {
	return history.Candle{Start: start, Open: open, High: high, Low: low, Close: last, Confidence: 0.5}
}

func expectCandles(t *testing.T, client redis.Cmdable, s history.Series[history.Candle], want ...history.Candle) {
	t.Helper()
	got, invalid, err := s.ReadAll(t.Context(), client)
	if err != nil || len(invalid) > 0 || !slices.Equal(got, want) {
		t.Errorf("%s: got %+v, invalid %v, %v\nwant %+v", s.Key, got, invalid, err, want)
	}
}

// expectCounters fails unless the metrics have these values, and no entry failed or was lost.
func expectCounters(t *testing.T, w *historyWriter, written, candleFailures, newer float64) {
	t.Helper()
	got := [...]float64{
		testutil.ToFloat64(w.metrics.written), testutil.ToFloat64(w.metrics.candleFailures), testutil.ToFloat64(w.metrics.newer),
		testutil.ToFloat64(w.metrics.failures), testutil.ToFloat64(w.metrics.lost),
	}
	if want := [...]float64{written, candleFailures, newer, 0, 0}; got != want {
		t.Errorf("got written, candle failures, newer, failures, lost %v, want %v", got, want)
	}
}

// TestHistoryWriter_CandlesAtElectionHourAndStop: not at each entry.
func TestHistoryWriter_CandlesAtElectionHourAndStop(t *testing.T) {
	client := redistest.Start(t)
	w := elected(client, new(logtest.Log))
	add(w, midnight, 5)
	w.writeDue(t.Context())
	expectCandles(t, client, history.Hours, candle(midnight, 5, 5, 5, 5))
	expectCandles(t, client, history.Days, candle(midnight, 5, 5, 5, 5))

	for i := range 5 {
		add(w, midnight+10*float64(i+1), float64(6+i))
		w.writeDue(t.Context())
	}
	expectCandles(t, client, history.Hours, candle(midnight, 5, 5, 5, 5)) // within the minute

	add(w, midnight+history.Hour+3, 2)
	w.writeDue(t.Context())
	expectCandles(t, client, history.Hours, candle(midnight, 5, 10, 5, 10), candle(midnight+history.Hour, 2, 2, 2, 2))
	expectCandles(t, client, history.Days, candle(midnight, 5, 10, 2, 2))

	add(w, midnight+history.Hour+13, 3)
	w.finish(t.Context())
	expectCandles(t, client, history.Hours, candle(midnight, 5, 10, 5, 10), candle(midnight+history.Hour, 2, 3, 2, 3))
	expectCandles(t, client, history.Days, candle(midnight, 5, 10, 2, 3))
	expectCounters(t, w, 8, 0, 0)
}

// TestHistoryWriter_ElectionUpgrades: what an ingester of schema 1 left, and what a leader left that was killed, becomes
// candles before there is an entry.
func TestHistoryWriter_ElectionUpgrades(t *testing.T) {
	client := redistest.Start(t)
	entries := []history.Entry{{Timestamp: midnight, Price: 5, Confidence: 0.5}, {Timestamp: midnight + history.Hour, Price: 6, Confidence: 0.5}}
	if err := history.Recent.Write(t.Context(), client, entries...); err != nil {
		t.Fatal(err)
	}
	first := elected(client, new(logtest.Log))
	first.writeDue(t.Context())
	expectCandles(t, client, history.Hours, candle(midnight, 5, 5, 5, 5), candle(midnight+history.Hour, 6, 6, 6, 6))
	if n, err := history.CheckSchema(t.Context(), client); n != history.Schema || err != nil {
		t.Errorf("got schema %d, %v, want %d", n, err, history.Schema)
	}
	add(first, midnight+history.Hour+10, 7)
	first.writeDue(t.Context()) // it is killed before it writes the candle
	second := elected(client, new(logtest.Log))
	second.writeDue(t.Context())
	expectCandles(t, client, history.Hours, candle(midnight, 5, 5, 5, 5), candle(midnight+history.Hour, 6, 7, 6, 7))
}

// TestHistoryWriter_EmptiedRedis: the schema and the candles are written again.
func TestHistoryWriter_EmptiedRedis(t *testing.T) {
	client := redistest.Start(t)
	w := elected(client, new(logtest.Log))
	add(w, midnight, 5)
	w.writeDue(t.Context())
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	add(w, midnight+10, 6)
	w.writeDue(t.Context())
	if n, err := history.CheckSchema(t.Context(), client); n != history.Schema || err != nil {
		t.Errorf("got schema %d, %v, want %d", n, err, history.Schema)
	}
	expectCandles(t, client, history.Hours, candle(midnight, 5, 6, 5, 6)) // the last entry before is written again
	if lost := testutil.ToFloat64(w.lostKey); lost != 1 {
		t.Errorf("got %v times that the history was lost, want 1", lost)
	}
}

// TestHistoryWriter_NewerHistoryIsLeftAlone: until it is deleted.
func TestHistoryWriter_NewerHistoryIsLeftAlone(t *testing.T) {
	client := redistest.Start(t)
	if err := client.Set(t.Context(), history.KeySchema, history.Schema+1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	log := new(logtest.Log)
	w := elected(client, log)
	for i := range 3 {
		add(w, midnight+float64(i*history.Slot), 5)
		w.writeDue(t.Context())
	}
	w.finish(t.Context())
	if keys := client.Keys(t.Context(), "*").Val(); len(keys) != 1 {
		t.Errorf("got keys %v, want only the schema", keys)
	}
	expectCounters(t, w, 0, 0, 1)
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "update it, or delete the history") {
		t.Errorf("got log %s\nwant one line that says what to do", text)
	}

	if err := client.Del(t.Context(), history.KeySchema).Err(); err != nil {
		t.Fatal(err)
	}
	w.checked = w.checked.Add(-recheckInterval)
	w.writeDue(t.Context())
	expectCounters(t, w, 3, 0, 0)
	expectCandles(t, client, history.Hours, candle(midnight, 5, 5, 5, 5))
}

// TestHistoryWriter_NewerLeaderMeanwhile: an ingester of a newer version was the leader for a moment, unnoticed.
func TestHistoryWriter_NewerLeaderMeanwhile(t *testing.T) {
	client := redistest.Start(t)
	w := elected(client, new(logtest.Log))
	add(w, midnight, 5)
	w.writeDue(t.Context())
	if err := client.Set(t.Context(), history.KeySchema, history.Schema+1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, after := range []float64{10, history.Hour} {
		add(w, midnight+after, 6)
		w.writeDue(t.Context()) // the schema is checked with the candles
	}
	expectCandles(t, client, history.Hours, candle(midnight, 5, 5, 5, 5))
	w.writeDue(t.Context())
	expectCounters(t, w, 3, 0, 1)
	w.forget()
	expectCounters(t, w, 3, 0, 0)
}

// TestHistoryWriter_FailedCandlesAffectNoEntry: the key of the hours has a value of another type.
func TestHistoryWriter_FailedCandlesAffectNoEntry(t *testing.T) {
	client := redistest.Start(t)
	if err := client.Set(t.Context(), history.KeyHours, "mine", 0).Err(); err != nil {
		t.Fatal(err)
	}
	log := new(logtest.Log)
	w := elected(client, log)
	add(w, midnight, 5)
	w.writeDue(t.Context())
	add(w, midnight+10, 6)
	w.writeDue(t.Context()) // tries again: the hours before this one are not complete
	expectCounters(t, w, 2, 2, 0)
	if err := client.Del(t.Context(), history.KeyHours).Err(); err != nil {
		t.Fatal(err)
	}
	add(w, midnight+20, 7)
	w.writeDue(t.Context())
	expectCandles(t, client, history.Hours, candle(midnight, 5, 7, 5, 7))
	if text := log.String(); strings.Count(text, "WRONGTYPE") != 2 || strings.Count(text, "redis accepts the history's candles again") != 1 {
		t.Errorf("got log %s\nwant the failures and the recovery", text)
	}
}

// TestHistoryWriter_FormerLeaderWritesNoCandles: another ingester is the leader.
func TestHistoryWriter_FormerLeaderWritesNoCandles(t *testing.T) {
	client := redistest.Start(t)
	w := elected(client, new(logtest.Log))
	w.forget()
	w.finish(t.Context())
	if keys := client.Keys(t.Context(), "*").Val(); len(keys) != 0 {
		t.Errorf("got keys %v, want none", keys)
	}
}

// TestHistoryWriter_Cost prints what a day of the history costs, and fails if it is far more than docs/redis.md says. The
// first minute after an election is not counted.
func TestHistoryWriter_Cost(t *testing.T) {
	client := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0")
	w := elected(client, new(logtest.Log))
	const perMinute = 60 / history.Slot
	minute := func(n int, candles bool) {
		for i := range perMinute {
			at := midnight + 60*n + history.Slot*i
			add(w, float64(at), 95_000+float64(at%997))
			w.writeWaiting(t.Context())
		}
		if candles {
			w.writeCandles(t.Context())
		}
	}
	number := func(section, name string) float64 {
		t.Helper()
		info := client.InfoMap(t.Context(), section)
		n, err := strconv.ParseFloat(info.Item(strings.ToUpper(section[:1])+section[1:], name), 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	measure := func(from int, candles bool) (received, sent, file float64) {
		t.Helper()
		in, out, size := number("stats", "total_net_input_bytes"), number("stats", "total_net_output_bytes"), number("persistence", "aof_current_size")
		const minutes = 24 * 60
		for n := range minutes {
			minute(from+n, candles)
		}
		const seconds = minutes * 60
		return (number("stats", "total_net_input_bytes") - in) / seconds, (number("stats", "total_net_output_bytes") - out) / seconds,
			(number("persistence", "aof_current_size") - size) / seconds
	}
	minute(-1, true)
	received, sent, file := measure(0, false)
	t.Logf("entries, bytes a second: redis receives %.0f, sends %.0f, appends %.0f to its file", received, sent, file)
	withReceived, withSent, withFile := measure(24*60, true)
	t.Logf("entries and candles: redis receives %.0f, sends %.0f, appends %.0f", withReceived, withSent, withFile)
	if withReceived > 150 || withSent > 400 || withFile > 100 {
		t.Error("got more traffic than the docs say")
	}
	expectCounters(t, w, 2*24*60*perMinute+perMinute, 0, 0)
}
