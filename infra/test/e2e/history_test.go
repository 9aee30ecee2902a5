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
	"sightglass/shared/redisurl"
)

// began is the first second of a slot, long ago.
const began = 1556771670

// publisher runs an ingester's publisher, and its ticks, until stop is called.
func publisher(t *testing.T, server *redistest.Server) (*redispublish.Publisher, *prometheus.Registry, func()) {
	t.Helper()
	p, reg, stop := publisherWith(t, server.URL(), contract.Lease, slog.New(slog.DiscardHandler))
	stop = ticking(p, stop)
	awaitElection(t, reg)
	return p, reg, stop
}

// awaitElection waits until a publisher was elected leader.
func awaitElection(t *testing.T, reg prometheus.Gatherer) {
	t.Helper()
	programs.Until(t, "the election", func() bool { return value(t, reg, "sightglass_leader_elections_total") > 0 })
}

// ticking gives a publisher a snapshot every 10 ms, until stop is called.
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

// tick hands over a snapshot as an ingester does at each tick, whether it is the leader or not.
func tick(p *redispublish.Publisher) { record(p, &contract.Snapshot{Status: contract.Warming}) }

// record hands over a snapshot for the history.
func record(p *redispublish.Publisher, s *contract.Snapshot) { p.Put(&redispublish.Tick{Snapshot: *s}) }

func priced(at, price float64) *contract.Snapshot {
	return &contract.Snapshot{
		Timestamp: at, Price: price, Low: price * 0.9, High: price * 1.1, Confidence: 0.9, Status: contract.Live, Seq: 1, Epoch: "5",
	}
}

// stored gives the history's prices, in the order of their times.
func stored(t *testing.T, client *redis.Client) (prices []float64) {
	t.Helper()
	members, err := client.ZRange(t.Context(), contract.KeyHistory, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range members {
		e, err := contract.DecodeHistoryEntry([]byte(member))
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

// TestHistory_OneEntryPerSlot: whoever writes, however often, and whatever the clock does.
func TestHistory_OneEntryPerSlot(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	first, _, stop := publisher(t, server)
	warming := priced(began-10, 90)
	warming.Status = contract.Warming
	record(first, warming)
	for _, after := range []float64{0, 0.5, 9.999, 10, 10.5, 20} { // ticks
		record(first, priced(began+after, 100+after))
	}
	expectStored(t, client, 100, 110, 120)
	if got := client.ZRange(t.Context(), contract.KeyHistory, 0, 0).Val()[0]; got != "[1556771670,100.00,90.00,110.00,0.900]" {
		t.Errorf("redis-cli shows %s", got)
	}
	if score := client.ZRangeWithScores(t.Context(), contract.KeyHistory, 0, 0).Val()[0].Score; score != began {
		t.Errorf("the score is %v, want the time", score)
	}

	stop()
	second, _, stop := publisher(t, server) // or the same, restarted
	defer stop()
	record(second, priced(began+23, 223))
	record(second, priced(began+30, 230))
	expectStored(t, client, 100, 110, 223, 230)
	record(second, priced(began+12, 412)) // the clock stepped back
	record(second, priced(began+22, 422))
	expectStored(t, client, 100, 412, 422, 230)
}

// TestHistory_FormerLeaderReplacesNothing: what an ingester remembers of the time when it could not reach Redis does not replace what
// its successor wrote meanwhile.
func TestHistory_FormerLeaderReplacesNothing(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	old, reg, stopOld := publisherWith(t, server.URL(), time.Minute, slog.New(slog.DiscardHandler)) // it ticks when we say so
	defer stopOld()
	awaitElection(t, reg)
	if err := client.Del(t.Context(), contract.KeyLeader).Err(); err != nil { // its lease ran out
		t.Fatal(err)
	}
	successor, _, stop := publisher(t, server)
	defer stop()
	record(old, priced(began, 900))
	record(successor, priced(began, 100))
	expectStored(t, client, 100)
	programs.Until(t, "the old one to know", func() bool {
		tick(old)
		return value(t, reg, "sightglass_history_lost_total") == 1
	})
	expectStored(t, client, 100)
}

// TestHistory_IsBounded: in Redis the oldest leave.
func TestHistory_IsBounded(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	fill(t, client, began, contract.MaxHistoryEntries)
	p, _, stop := publisher(t, server)
	defer stop()
	record(p, priced(began+contract.MaxHistoryEntries*contract.HistorySlot, 7))
	programs.Until(t, "the new entry", func() bool {
		prices := stored(t, client)
		return len(prices) == contract.MaxHistoryEntries && prices[len(prices)-1] == 7
	})
	if oldest := client.ZRangeWithScores(t.Context(), contract.KeyHistory, 0, 0).Val()[0].Score; oldest != began+contract.HistorySlot {
		t.Errorf("the oldest is of %v, want the first to have left", oldest)
	}
}

// fill writes n entries, a slot apart; the price of each says which it is, from 1.
func fill(t testing.TB, client *redis.Client, from int64, n int) {
	t.Helper()
	members := make([]redis.Z, n)
	for i := range members {
		e := contract.HistoryEntry{Timestamp: from + int64(i)*contract.HistorySlot, Price: float64(i + 1)}
		members[i] = redis.Z{Score: float64(e.Timestamp), Member: e.AppendJSON(nil)}
	}
	if err := client.ZAdd(t.Context(), contract.KeyHistory, members...).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestHistory_WritesLastHourAfterOutage, and what is older is lost.
func TestHistory_WritesLastHourAfterOutage(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	p, reg, stop := publisher(t, server)
	defer stop()
	server.Kill()
	const missed, hour = 400, 360
	for i := range missed {
		record(p, priced(float64(began+i*contract.HistorySlot), float64(i+1)))
	}
	programs.Until(t, "a snapshot that Redis did not take", func() bool { return value(t, reg, "sightglass_publish_failures_total") > 0 })
	server.Start()
	programs.Until(t, "the hour to be written", func() bool { return len(stored(t, client)) == hour })
	if prices := stored(t, client); prices[0] != missed-hour+1 || prices[hour-1] != missed {
		t.Errorf("entries %v to %v are there, want the last hour", prices[0], prices[hour-1])
	}
	if lost := value(t, reg, "sightglass_history_lost_total"); lost != missed-hour {
		t.Errorf("%v are counted as lost, want %v", lost, missed-hour)
	}
}

// value is a counter's or gauge's, all its series added up, from what an operator sees.
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
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() // it has one of them
			}
			return sum
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestHistory_RejectedWriteDoesNotAffectSnapshots: somebody has used its name for something else.
func TestHistory_RejectedWriteDoesNotAffectSnapshots(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	if err := client.Set(t.Context(), contract.KeyHistory, "mine", 0).Err(); err != nil {
		t.Fatal(err)
	}
	p, reg, stop := publisher(t, server)
	defer stop()
	record(p, priced(began, 100))
	programs.Until(t, "the refusal", func() bool { return value(t, reg, "sightglass_history_failures_total") > 0 })
	programs.Until(t, "the snapshot", func() bool { return latest(t, server) != nil })
	if n := value(t, reg, "sightglass_publish_failures_total"); n != 0 {
		t.Errorf("%v snapshots failed", n)
	}
	if err := client.Del(t.Context(), contract.KeyHistory).Err(); err != nil {
		t.Fatal(err)
	}
	record(p, priced(began+10, 110))
	expectStored(t, client, 100, 110)
}

// TestHistory_DocumentedRightsSuffice are those that the changelog names.
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
	programs.Until(t, "the refusal", func() bool { return value(t, reg, "sightglass_history_failures_total") > 0 })
	programs.Until(t, "the snapshot", func() bool { return latest(t, server) != nil })
	setUser("+zadd +zremrangebyscore +zremrangebyrank")
	record(p, priced(began+10, 110))
	expectStored(t, client, 100, 110)
}

// newAPI serves the API of an edge that knows nothing but a Redis, and returns what asks it.
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

// everything is a request for all of the history.
var everything = fmt.Sprintf("/history?from=0&to=%d", int64(began)+1e6)

// entriesIn counts the entries of a history.
func entriesIn(body string) int { return strings.Count(body, "[") - 1 }

// TestHistoryCache_FetchesOnce, however many requests come.
func TestHistoryCache_FetchesOnce(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	fill(t, client, began, 8640)
	get, reg := newAPI(t, server)
	fetches := func() float64 { return value(t, reg, "sightglass_cache_fetches_total") }
	var g errgroup.Group
	for range 50 {
		g.Go(func() error {
			if status, body := get(everything); status != http.StatusOK || entriesIn(body) != 8640 {
				return fmt.Errorf("%d, %d entries", status, entriesIn(body))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := fetches(); n != 1 {
		t.Errorf("redis was asked %v times, want 1", n)
	}
	fill(t, client, began+86400, 1)
	programs.Until(t, "the new entry", func() bool { _, body := get(everything); return entriesIn(body) == 8641 })
	stats := client.Info(t.Context(), "commandstats").Val()
	if n := fetches(); n != 2 || !strings.Contains(stats, "cmdstat_zrange:calls=2,") {
		t.Errorf("redis was asked %v times, want 2; it says\n%s", n, stats)
	}
}

// TestHistoryCache_ServesLastKnownWithoutRedis, and asks no more often than with one.
func TestHistoryCache_ServesLastKnownWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	fill(t, server.Client(), began, 3)
	known, knownReg := newAPI(t, server)
	unknown, _ := newAPI(t, server)
	if status, _ := known(everything); status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	server.Kill()
	programs.Until(t, "a fetch that failed", func() bool {
		status, body := known(everything)
		if status != http.StatusOK || entriesIn(body) != 3 {
			t.Fatalf("got %d with %s, want the three that are known", status, body)
		}
		return value(t, knownReg, "sightglass_cache_failures_total") > 0
	})
	if status, _ := unknown(everything); status != http.StatusServiceUnavailable {
		t.Errorf("an edge that knows nothing answers %d", status)
	}
	server.Start()
	programs.Until(t, "an empty history", func() bool {
		status, body := unknown(everything)
		return status == http.StatusOK && entriesIn(body) == 0
	})
}

// TestHistory_SkipsInvalidEntries: they are counted, and the others are served.
func TestHistory_SkipsInvalidEntries(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	fill(t, client, began, 3)
	for score, member := range map[float64]string{
		1: "nonsense", began + 5: "[]", began + 12: `["1556771682",1,1,1,0]`,
		began + 25:   "[1556771670,9.00,9.00,9.00,0.900]", // of another time than its score
		began + 1000: strings.Repeat("x", 1<<20),
	} {
		if err := client.ZAdd(t.Context(), contract.KeyHistory, redis.Z{Score: score, Member: member}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	get, reg := newAPI(t, server)
	if status, body := get(everything); status != http.StatusOK || entriesIn(body) != 3 {
		t.Fatalf("got %d, %s, want the three that are good", status, body)
	}
	if n := value(t, reg, "sightglass_history_rejected_total"); n != 5 {
		t.Errorf("%v entries were counted as rejected, want 5", n)
	}
}
