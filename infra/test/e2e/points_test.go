package e2e

import (
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	redispublish "sightglass/ingester/publish"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
	"sightglass/shared/contract"
)

// pointsOf decodes a response of /api/v1/points.
func pointsOf(t *testing.T, body []byte) []contract.PointAmount {
	t.Helper()
	text := strings.TrimSuffix(strings.TrimPrefix(string(body), `{"points":`), "}")
	points, err := contract.DecodePointAmounts([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return points
}

// TestPoints_AmountsMatchOutputs: end to end, the points are the snapshot's, and each amount is that of an output.
func TestPoints_AmountsMatchOutputs(t *testing.T) {
	env := start(t, 2)
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	paid := make(map[int64]bool) // satoshi
	for _, tx := range file.Transactions {
		for _, out := range tx.TxOut {
			paid[out.Value] = true
		}
	}
	for _, e := range env.edges {
		var points []contract.PointAmount
		programs.Until(t, "the points of the snapshot", func() bool { // the replay has ended, so the points soon stay the same
			points = pointsOf(t, ask(t, "GET", e, "/api/v1/points", nil).body)
			_, body := get(t, e, "/api/v1/snapshot")
			s, err := contract.DecodeSnapshot(body)
			return err == nil && slices.EqualFunc(s.Transactions, points, func(a contract.Point, b contract.PointAmount) bool {
				return a == contract.Point{Timestamp: b.Timestamp, Price: b.Price}
			})
		})
		if len(points) != contract.MaxTransactions {
			t.Errorf("got %d points, want more", len(points))
		}
		for _, p := range points {
			if !isPaid(paid, p) {
				t.Fatalf("got a point of %v USD at %v, want one that an output pays", p.Amount, p.Price)
			}
		}
	}
	if ttl := env.redis.Client().TTL(t.Context(), contract.KeyPoints).Val(); ttl <= 0 {
		t.Errorf("got TTL %v of the points, want one that expires after the ingester's end", ttl)
	}
}

// isPaid reports whether an output has a point's value. Prices are rounded to cents, which leaves a range of satoshi.
func isPaid(paid map[int64]bool, p contract.PointAmount) bool {
	least, most := 1e8*p.Amount/(p.Price+0.005), 1e8*p.Amount/(p.Price-0.005)
	for satoshi := int64(math.Floor(least)); satoshi <= int64(math.Ceil(most)); satoshi++ {
		if paid[satoshi] {
			return true
		}
	}
	return false
}

// storePoints writes n points to Redis, a quarter of a second apart, of 1, 2, ... dollars.
func storePoints(t *testing.T, client *redis.Client, n int) {
	t.Helper()
	points := make([]contract.PointAmount, n)
	for i := range points {
		points[i] = contract.PointAmount{Timestamp: began + float64(i)/4, Price: 5000, Amount: float64(i + 1)}
	}
	if err := client.Set(t.Context(), contract.KeyPoints, contract.AppendPointAmounts(nil, points), 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestAPI_PointsQueries(t *testing.T) {
	server := redistest.Start(t)
	storePoints(t, server.Client(), 6) // seconds 0, 0.25, ... 1.25
	e := edgeWith(t, server, unchanged)
	for query, want := range map[string][]float64{ // amounts
		"":                  {1, 2, 3, 4, 5, 6},
		"?since=0":          {1, 2, 3, 4, 5, 6},
		"?since=1556771669": {1, 2, 3, 4, 5, 6},
		"?since=1556771670": {2, 3, 4, 5, 6},
		"?since=1556771671": {6},
		"?since=1556771672": nil,
		"?colour=red":       {1, 2, 3, 4, 5, 6},
	} {
		t.Run(query, func(t *testing.T) {
			got := ask(t, "GET", e, "/api/v1/points"+query, nil)
			var amounts []float64
			for _, p := range pointsOf(t, got.body) {
				amounts = append(amounts, p.Amount)
			}
			if got.StatusCode != http.StatusOK || !slices.Equal(amounts, want) {
				t.Errorf("got %s with amounts %v, want %v", got.Status, amounts, want)
			}
			if caching := got.Header.Get("Cache-Control"); caching != "public, max-age=1" {
				t.Errorf("got Cache-Control %s, want public, max-age=1", caching)
			}
		})
	}
	for _, query := range []string{"since=", "since=-1", "since=1.5", "since=yesterday", "since=1099511627777"} {
		t.Run(query, func(t *testing.T) {
			got := ask(t, "GET", e, "/api/v1/points?"+query, nil)
			if message := expectError(t, got, http.StatusBadRequest); !strings.HasPrefix(message, "since ") {
				t.Errorf("got the message %q, want one that names since", message)
			}
		})
	}
}

// TestPointsCache_KeepsLastValidPoints: Redis has unreadable points, or is down.
func TestPointsCache_KeepsLastValidPoints(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	get, reg := newAPI(t, server)
	pointsIn := func() int {
		status, body := get("/points")
		if status != http.StatusOK {
			t.Fatalf("got status %d, want 200", status)
		}
		return strings.Count(body, "[") - 1
	}
	untilFailures := func(n float64, why string) {
		t.Helper()
		programs.Until(t, "a failed fetch because of "+why, func() bool {
			if got := pointsIn(); got != 3 {
				t.Fatalf("%s: got %d points, want the last valid 3", why, got)
			}
			return value(t, reg, "sightglass_cache_failures_total") >= n
		})
	}
	if n := pointsIn(); n != 0 {
		t.Errorf("without a key: got %d points, want none", n)
	}
	storePoints(t, client, 3)
	programs.Until(t, "three points", func() bool { return pointsIn() == 3 })
	if err := client.Set(t.Context(), contract.KeyPoints, "nonsense", 0).Err(); err != nil {
		t.Fatal(err)
	}
	untilFailures(1, "nonsense")
	server.Kill()
	untilFailures(2, "a dead redis")
	unknown, _ := newAPI(t, server)
	if status, _ := unknown("/points"); status != http.StatusServiceUnavailable {
		t.Errorf("an edge without points: got status %d, want 503", status)
	}
}

// TestPoints_RejectedWriteDoesNotAffectSnapshots: the ingester's user may not write the points' key.
func TestPoints_RejectedWriteDoesNotAffectSnapshots(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	set := func(rights string) {
		t.Helper()
		args := []any{"ACL", "SETUSER", "ingester"}
		for right := range strings.FieldsSeq(rights) {
			args = append(args, right)
		}
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("on >secret ~" + contract.KeyLatest + " ~" + contract.KeyLeader + " ~" + contract.KeyEpoch + " &sightglass:* +@all")
	p, reg, stop := publisherWith(t, strings.Replace(server.URL(), "//", "//ingester:secret@", 1), contract.Lease, slog.New(slog.DiscardHandler))
	defer stop()
	put := func(seq uint64) {
		p.Put(&redispublish.Tick{
			Snapshot: contract.Snapshot{Status: contract.Warming}, Points: []contract.PointAmount{{Timestamp: 1, Price: 2, Amount: float64(seq)}},
		})
	}
	programs.Until(t, "a rejected write", func() bool {
		put(1)
		return value(t, reg, "sightglass_publish_points_failures_total") > 0
	})
	if n := value(t, reg, "sightglass_publish_failures_total"); n != 0 || latest(t, server) == nil {
		t.Errorf("got %v failed snapshots, want none and a snapshot in redis", n)
	}
	set("~" + contract.KeyPoints)
	put(2)
	programs.Until(t, "the points", func() bool { return client.Get(t.Context(), contract.KeyPoints).Val() == "[[1.000,2.00,2]]" })
	before := latest(t, server)
	tick(p) // without points
	programs.Until(t, "the next snapshot", func() bool { return latest(t, server).NewerThan(before) })
	if got := client.Get(t.Context(), contract.KeyPoints).Val(); got != "[[1.000,2.00,2]]" {
		t.Errorf("got points %s after a tick without points, want the same", got)
	}
}
