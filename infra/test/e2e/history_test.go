package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sightglass/edge/feed"
	"sightglass/edge/httpapi"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	redispublish "sightglass/ingester/publish"
	"sightglass/shared/contract"
	"sightglass/shared/history"
	"sightglass/shared/redisurl"
)

// began is the first second of a slot in 2019.
const began = 1556771670

// publisher runs an ingester's publisher, and its ticks, until stop is called.
func publisher(t *testing.T, server *redistest.Server) (*redispublish.Publisher, *prometheus.Registry, func()) {
	t.Helper()
	p, reg, stop := publisherWith(t, server.URL(), contract.Lease, slog.New(slog.DiscardHandler))
	stop = ticking(p, stop)
	awaitElection(t, reg)
	return p, reg, stop
}

// awaitElection waits until a publisher is elected leader.
func awaitElection(t *testing.T, reg prometheus.Gatherer) {
	t.Helper()
	programs.Until(t, "the election", func() bool { return value(t, reg, "sightglass_leader_elections_total") > 0 })
}

// ticking passes a snapshot to a publisher every 10 ms, until stop is called.
func ticking(p *redispublish.Publisher, stop func()) func() {
	over := make(chan struct{})
	var ticks sync.WaitGroup
	ticks.Go(func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
				tick(p)
			}
		}
	})
	return func() { close(over); ticks.Wait(); stop() }
}

func publisherWith(t *testing.T, url string, lease time.Duration, log *slog.Logger) (p *redispublish.Publisher, reg *prometheus.Registry, stop func()) {
	t.Helper()
	client, err := redisurl.Open(url, redisurl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	reg = prometheus.NewRegistry()
	p = redispublish.New(client, lease, log, reg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); p.Run(ctx) }()
	stop = func() { cancel(); <-ended; client.Close() }
	return p, reg, stop
}

// tick passes a snapshot to a publisher, as an ingester does at each tick, leader or not.
func tick(p *redispublish.Publisher) { record(p, &contract.Snapshot{Status: contract.Warming}) }

// record passes a snapshot for the history to a publisher.
func record(p *redispublish.Publisher, s *contract.Snapshot) { p.Put(&redispublish.Tick{Snapshot: *s}) }

func priced(at, price float64) *contract.Snapshot {
	return &contract.Snapshot{
		Timestamp: at, Price: price, Low: price * 0.9, High: price * 1.1, Confidence: 0.9, Status: contract.Live, Seq: 1, Epoch: "5",
	}
}

// stored returns the history's prices, ordered by time.
func stored(t *testing.T, client *redis.Client) (prices []float64) {
	t.Helper()
	members, err := client.ZRange(t.Context(), history.KeyRecent, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range members {
		e, err := history.DecodeEntry([]byte(member))
		if err != nil {
			t.Fatal(err)
		}
		prices = append(prices, e.Price)
	}
	return prices
}

func expectStored(t *testing.T, client *redis.Client, want ...float64) {
	t.Helper()
	programs.Until(t, fmt.Sprintf("the history to be %v", want), func() bool { return slices.Equal(stored(t, client), want) })
}

// TestHistory_OneEntryPerSlot: with several writers, many ticks per slot, and a clock that steps back.
func TestHistory_OneEntryPerSlot(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	first, _, stop := publisher(t, server)
	warming := priced(began-10, 90)
	warming.Status = contract.Warming
	record(first, warming)
	vague := priced(began-10, 80) // a cold start that may be wrong by a factor
	vague.Low, vague.High = 20, 90
	record(first, vague)
	without := priced(began-10, 0) // no entry either, whatever the status says
	record(first, without)
	for _, after := range []float64{0, 0.5, 9.999, 10, 10.5, 20} { // ticks
		record(first, priced(began+after, 100+after))
	}
	expectStored(t, client, 100, 110, 120)
	if got := client.ZRange(t.Context(), history.KeyRecent, 0, 0).Val()[0]; got != "[1556771670,100.00,90.00,110.00,0.900]" {
		t.Errorf("got %s, want one entry per slot", got)
	}
	if score := client.ZRangeWithScores(t.Context(), history.KeyRecent, 0, 0).Val()[0].Score; score != began {
		t.Errorf("got score %v, want the time", score)
	}

	stop()
	second, _, stop := publisher(t, server) // or the first one after a restart
	defer stop()
	record(second, priced(began+23, 223))
	record(second, priced(began+30, 230))
	expectStored(t, client, 100, 110, 223, 230)
	record(second, priced(began+12, 412)) // the clock stepped back
	record(second, priced(began+22, 422))
	expectStored(t, client, 100, 412, 422, 230)
	contested := priced(began+40, 240)
	contested.Status = contract.Contested
	record(second, contested)
	expectStored(t, client, 100, 412, 422, 230, 240)
}

// TestHistory_FormerLeaderReplacesNothing: entries that an ingester buffered while it could not reach Redis do not
// replace its successor's entries.
func TestHistory_FormerLeaderReplacesNothing(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	old, reg, stopOld := publisherWith(t, server.URL(), time.Minute, slog.New(slog.DiscardHandler)) // the test ticks it
	defer stopOld()
	awaitElection(t, reg)
	if err := client.Del(t.Context(), contract.KeyLeader).Err(); err != nil { // its lease expired
		t.Fatal(err)
	}
	successor, _, stop := publisher(t, server)
	defer stop()
	record(old, priced(began, 900))
	record(successor, priced(began, 100))
	expectStored(t, client, 100)
	programs.Until(t, "the former leader to notice", func() bool {
		tick(old)
		return value(t, reg, "sightglass_history_lost_total") == 1
	})
	expectStored(t, client, 100)
}

// TestHistory_IsBounded: Redis drops the oldest entries.
func TestHistory_IsBounded(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	fill(t, client, began, history.MaxRecent)
	p, _, stop := publisher(t, server)
	defer stop()
	record(p, priced(began+history.MaxRecent*history.Slot, 7))
	programs.Until(t, "the new entry", func() bool {
		prices := stored(t, client)
		return len(prices) == history.MaxRecent && prices[len(prices)-1] == 7
	})
	if oldest := client.ZRangeWithScores(t.Context(), history.KeyRecent, 0, 0).Val()[0].Score; oldest != began+history.Slot {
		t.Errorf("got an oldest entry of %v, want the first one dropped", oldest)
	}
}

// fill writes n entries, a slot apart, with the prices 1 to n.
func fill(t testing.TB, client *redis.Client, from int64, n int) {
	t.Helper()
	members := make([]redis.Z, n)
	for i := range members {
		e := history.Entry{Timestamp: from + int64(i)*history.Slot, Price: float64(i + 1)}
		members[i] = redis.Z{Score: float64(e.Timestamp), Member: e.AppendJSON(nil)}
	}
	if err := client.ZAdd(t.Context(), history.KeyRecent, members...).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestHistory_WritesLastHourAfterOutage: older entries are lost.
func TestHistory_WritesLastHourAfterOutage(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	p, reg, stop := publisher(t, server)
	defer stop()
	server.Kill()
	const missed, hour = 400, 360
	for i := range missed {
		record(p, priced(float64(began+i*history.Slot), float64(i+1)))
	}
	programs.Until(t, "a publish failure", func() bool { return value(t, reg, "sightglass_publish_failures_total") > 0 })
	server.Start()
	programs.Until(t, "the hour to be written", func() bool { return len(stored(t, client)) == hour })
	if prices := stored(t, client); prices[0] != missed-hour+1 || prices[hour-1] != missed {
		t.Errorf("got entries %v to %v, want the last hour", prices[0], prices[hour-1])
	}
	if lost := value(t, reg, "sightglass_history_lost_total"); lost != missed-hour {
		t.Errorf("got %v entries counted as lost, want %v", lost, missed-hour)
	}
}

// value returns the sum of the series of a counter or gauge.
func value(t *testing.T, reg prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			sum := 0.0
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() // one of them is zero
			}
			return sum
		}
	}
	t.Fatalf("got no metric %s", name)
	return 0
}

// TestHistory_RejectedWriteDoesNotAffectSnapshots: the history's key has a value of another type.
func TestHistory_RejectedWriteDoesNotAffectSnapshots(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	if err := client.Set(t.Context(), history.KeyRecent, "mine", 0).Err(); err != nil {
		t.Fatal(err)
	}
	p, reg, stop := publisher(t, server)
	defer stop()
	record(p, priced(began, 100))
	programs.Until(t, "a rejected write", func() bool { return value(t, reg, "sightglass_history_failures_total") > 0 })
	programs.Until(t, "the snapshot", func() bool { return latest(t, server) != nil })
	if n := value(t, reg, "sightglass_publish_failures_total"); n != 0 {
		t.Errorf("got %v failed snapshots, want none", n)
	}
	if err := client.Del(t.Context(), history.KeyRecent).Err(); err != nil {
		t.Fatal(err)
	}
	record(p, priced(began+10, 110))
	expectStored(t, client, 100, 110)
}

// TestHistory_DocumentedRightsSuffice uses the rights that the changelog names.
func TestHistory_DocumentedRightsSuffice(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	const base = "on >secret resetkeys resetchannels ~sightglass:* &sightglass:* -@all +set +get +del +publish +eval +evalsha +multi +exec +ping +hello +client|setname"
	setUser := func(rights string) {
		t.Helper()
		args := []any{"ACL", "SETUSER", "ingester"}
		for right := range strings.FieldsSeq(rights) {
			args = append(args, right)
		}
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	setUser(base)
	p, reg, stop := publisherWith(t, strings.Replace(server.URL(), "//", "//ingester:secret@", 1), contract.Lease, slog.New(slog.DiscardHandler))
	defer ticking(p, stop)()
	awaitElection(t, reg)
	record(p, priced(began, 100))
	programs.Until(t, "a rejected write", func() bool { return value(t, reg, "sightglass_history_failures_total") > 0 })
	programs.Until(t, "the snapshot", func() bool { return latest(t, server) != nil })
	setUser("+zadd +zremrangebyscore +zremrangebyrank") // the rights of an ingester before there were candles
	record(p, priced(began+10, 110))
	expectStored(t, client, 100, 110)
	programs.Until(t, "rejected candles", func() bool { return value(t, reg, "sightglass_history_candle_failures_total") > 0 })
	setUser("+zrange")
	record(p, priced(began+history.Hour, 120)) // the candles are tried again
	expectDay(t, client, 120)
}

// expectDay waits until the only candle of a day closes at a price.
func expectDay(t *testing.T, client *redis.Client, price float64) {
	t.Helper()
	programs.Until(t, fmt.Sprintf("a day that closes at %v", price), func() bool {
		days, _, err := history.Days.ReadAll(t.Context(), client)
		return err == nil && len(days) == 1 && days[0].Close == price
	})
}

// TestHistory_CandlesWithoutNode: an ingester writes them from its entries, also at its end and after Redis was emptied.
func TestHistory_CandlesWithoutNode(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	p, reg, stop := publisher(t, server)
	record(p, priced(began, 100))
	expectStored(t, client, 100)
	record(p, priced(began+10, 120))
	expectStored(t, client, 100, 120)
	stop()
	expectDay(t, client, 120)
	if n, err := history.CheckSchema(t.Context(), client); n != history.Schema || err != nil {
		t.Errorf("got schema %d, %v, want %d", n, err, history.Schema)
	}
	if n := value(t, reg, "sightglass_history_candle_failures_total"); n != 0 {
		t.Errorf("got %v failures, want none", n)
	}

	p, _, stop = publisher(t, server)
	defer stop()
	record(p, priced(began+20, 90))
	expectStored(t, client, 100, 120, 90)
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	record(p, priced(began+30, 130))
	expectStored(t, client, 90, 130)
	expectDay(t, client, 130)
	if n, err := history.CheckSchema(t.Context(), client); n != history.Schema || err != nil {
		t.Errorf("got schema %d, %v, want %d", n, err, history.Schema)
	}
}

// TestHistory_NewerIsLeftAlone: snapshots go on.
func TestHistory_NewerIsLeftAlone(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	if err := client.Set(t.Context(), history.KeySchema, history.Schema+1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	p, reg, stop := publisher(t, server)
	record(p, priced(began, 100))
	programs.Until(t, "the newer history to be noticed", func() bool { return value(t, reg, "sightglass_history_newer") == 1 })
	programs.Until(t, "the snapshot", func() bool { return latest(t, server) != nil })
	stop()
	if got := client.Exists(t.Context(), history.KeyRecent, history.KeyHours, history.KeyDays).Val(); got != 0 {
		t.Errorf("got %d keys of the history, want none", got)
	}
}

// newAPI serves the API of an edge that has only a Redis, and returns a function that requests a path.
func newAPI(t *testing.T, server *redistest.Server) (get func(path string) (status int, body string), reg *prometheus.Registry) {
	t.Helper()
	client, err := redisurl.Open(server.URL(), redisurl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	reg = prometheus.NewRegistry()
	api := httpapi.New(func() *feed.Update { return nil }, client, slog.New(slog.DiscardHandler), reg)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/history", api.History)
	app.Get("/points", api.Points)
	app.Get("/evidence", api.Evidence)
	return func(path string) (int, string) {
		answer, err := app.Test(httptest.NewRequest(http.MethodGet, path, nil), -1)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Error(err)
		}
		return answer.StatusCode, string(body)
	}, reg
}

// everything is the path of the whole history.
var everything = fmt.Sprintf("/history?from=0&to=%d", int64(began)+1e6)

// entriesIn counts the entries of a history.
func entriesIn(body string) int { return strings.Count(body, "[") - 1 }

// TestHistoryCache_FetchesOnce: concurrent requests share one fetch.
func TestHistoryCache_FetchesOnce(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	const entries = 1500
	fill(t, client, began, entries)
	get, reg := newAPI(t, server)
	fetches := func() float64 { return value(t, reg, "sightglass_cache_fetches_total") }
	var g errgroup.Group
	for range 50 {
		g.Go(func() error {
			if status, body := get(everything); status != http.StatusOK || entriesIn(body) != entries {
				return fmt.Errorf("got status %d with %d entries, want 200 with all", status, entriesIn(body))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := fetches(); n != 5 { // four series and the schema
		t.Errorf("got %v fetches from redis, want 5", n)
	}
	fill(t, client, began+entries*history.Slot, 1)
	programs.Until(t, "the new entry", func() bool { _, body := get(everything); return entriesIn(body) == entries+1 })
	stats := client.Info(t.Context(), "commandstats").Val()
	if n := fetches(); n != 7 || !strings.Contains(stats, "cmdstat_zrange:calls=5,") { // the recent series and the schema again
		t.Errorf("got %v fetches from redis, want 7; commandstats:\n%s", n, stats)
	}
}

// TestHistoryCache_ServesLastKnownWithoutRedis: the edge fetches no more often than with Redis.
func TestHistoryCache_ServesLastKnownWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	fill(t, server.Client(), began, 3)
	known, knownReg := newAPI(t, server)
	unknown, _ := newAPI(t, server)
	if status, _ := known(everything); status != http.StatusOK {
		t.Fatalf("got status %d, want 200", status)
	}
	server.Kill()
	programs.Until(t, "a failed fetch", func() bool {
		status, body := known(everything)
		if status != http.StatusOK || entriesIn(body) != 3 {
			t.Fatalf("got %d with %s, want 200 with the three known entries", status, body)
		}
		return value(t, knownReg, "sightglass_cache_failures_total") > 0
	})
	if status, _ := unknown(everything); status != http.StatusServiceUnavailable {
		t.Errorf("an edge without entries: got status %d, want 503", status)
	}
	server.Start()
	programs.Until(t, "an empty history", func() bool {
		status, body := unknown(everything)
		return status == http.StatusOK && entriesIn(body) == 0
	})
}

// TestHistory_SkipsInvalidEntries: invalid entries are counted, and the others are served.
func TestHistory_SkipsInvalidEntries(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	fill(t, client, began, 3)
	for score, member := range map[float64]string{
		1: "nonsense", began + 5: "[]", began + 12: `["1556771682",1,1,1,0]`,
		began + 25:   "[1556771670,9.00,9.00,9.00,0.900]", // its time differs from its score
		began + 1000: strings.Repeat("x", 1<<20),
	} {
		if err := client.ZAdd(t.Context(), history.KeyRecent, redis.Z{Score: score, Member: member}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	get, reg := newAPI(t, server)
	if status, body := get(everything); status != http.StatusOK || entriesIn(body) != 3 {
		t.Fatalf("got %d with %s, want 200 with the three valid entries", status, body)
	}
	if n := value(t, reg, "sightglass_history_rejected_total"); n != 5 {
		t.Errorf("got %v entries counted as rejected, want 5", n)
	}
}
