package backfill

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/price"
	"sightglass/ingester/rawtx"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/testchain"
	"sightglass/shared/history"
	"sightglass/shared/logtest"
	"sightglass/shared/redistest"
)

func options(n *testchain.Node, client *redis.Client, log io.Writer) Options {
	return Options{
		Node: n.Client, Redis: client, Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: NewMetrics(prometheus.NewRegistry()), Workers: 2,
	}
}

// expectHistory fails unless the history has the prices of a chain's blocks from one height to another, within 1 % but
// for a few, in blocks, hours and days.
func expectHistory(t *testing.T, client *redis.Client, c *testchain.Chain, from, to int64) {
	t.Helper()
	rows, invalid, err := history.Blocks.ReadAll(t.Context(), client)
	if err != nil || len(invalid) > 0 {
		t.Fatal(err, invalid)
	}
	if len(rows) != int(to-from+1) || rows[0].Height != from || rows[len(rows)-1].Height != to {
		t.Fatalf("got %d blocks, want %d to %d", len(rows), from, to)
	}
	off := 0
	for _, b := range rows {
		truth := c.PriceAt(b.Height)
		if math.Abs(b.Price/truth-1) > 0.01 {
			off++
		}
		if want := c.Blocks[b.Height-c.First].Header.Timestamp.Unix(); b.Timestamp != want {
			t.Fatalf("block %d: got time %d, want %d", b.Height, b.Timestamp, want)
		}
	}
	if off > len(rows)/50 {
		t.Errorf("got %d of %d prices off by over 1 %%, want under 2 %%", off, len(rows))
	}
	for name, candles := range map[string]struct {
		series history.Series[history.Candle]
		length int64
	}{"hours": {history.Hours, history.Hour}, "days": {history.Days, history.Day}} {
		got, invalid, err := candles.series.ReadAll(t.Context(), client)
		if err != nil || len(invalid) > 0 {
			t.Fatal(err, invalid)
		}
		want := history.CandlesOfBlocks(rows, candles.length)
		for i := range want { // the mean of means is rounded twice
			if i < len(got) && math.Abs(got[i].Confidence-want[i].Confidence) < 0.002 {
				want[i].Confidence = got[i].Confidence
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v\nwant %v", name, got, want)
		}
	}
	p, err := history.ReadProgress(t.Context(), client)
	if err != nil || p.From != from || p.To != to || p.Network != "main" {
		t.Errorf("got progress %+v, %v, want %d to %d", p, err, from, to)
	}
}

func TestRun_FillsAndExtends(t *testing.T) {
	client := redistest.Start(t)
	c := testchain.New(t, 1, 210, 200, time.Now().Add(-time.Minute))
	n := c.Serve(t, 200)
	from := c.First + 100
	if err := Run(t.Context(), options(n, client, io.Discard), from, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	expectHistory(t, client, c, from, c.First+199)
	for range 10 {
		n.Mine(t)
	}
	if err := Run(t.Context(), options(n, client, io.Discard), c.First, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	expectHistory(t, client, c, c.First, c.Tip())
}

// TestRun_ContinuesAfterStop stops runs after each day that they have written.
func TestRun_ContinuesAfterStop(t *testing.T) {
	client := redistest.Start(t)
	c := testchain.New(t, 2, 320, 150, time.Now().Add(-time.Minute))
	n := c.Serve(t, 320)
	for runs := 1; ; runs++ {
		ctx, stop := context.WithCancel(t.Context())
		o := options(n, client, io.Discard)
		o.Report = func(Report) { stop() }
		err := Run(ctx, o, c.First, math.MaxInt64)
		stop()
		if err == nil {
			if runs < 3 {
				t.Errorf("got %d runs, want one for each day", runs)
			}
			break
		}
		if !errors.Is(err, context.Canceled) || runs > 10 {
			t.Fatal(err)
		}
	}
	expectHistory(t, client, c, c.First, c.Tip())
}

// TestRun_OldDays has blocks of a time of which only candles are kept, and stops in the middle of a day.
func TestRun_OldDays(t *testing.T) {
	client := redistest.Start(t)
	c := testchain.New(t, 3, 350, 150, time.Now().Add(-100*24*time.Hour))
	n := c.Serve(t, 350)
	ends := []struct{ from, to int64 }{{c.First + 200, c.First + 260}, {c.First + 100, c.First + 260}, {c.First, c.Tip()}}
	for _, e := range ends {
		if err := Run(t.Context(), options(n, client, io.Discard), e.from, e.to); err != nil {
			t.Fatal(err)
		}
	}
	if n := client.ZCard(t.Context(), history.KeyBlocks).Val(); n != 0 {
		t.Errorf("got %d blocks, want none: they are too old", n)
	}
	days, _, err := history.Days.ReadAll(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	blocks := int64(0)
	for _, d := range days {
		blocks += d.Blocks
		if truth := c.PriceAt(d.Height); math.Abs(d.Close/truth-1) > 0.02 {
			t.Errorf("day %d: got %v at its end, want %v", d.Start, d.Close, truth)
		}
	}
	if blocks != 350 || days[len(days)-1].Height != c.Tip() {
		t.Errorf("got %d blocks in %d days, want all 350", blocks, len(days))
	}
}

// realBlock reads a block of the larger data set.
func realBlock(t testing.TB, height int64) *wire.MsgBlock {
	t.Helper()
	file, err := os.Open(testblock.Data(t, fmt.Sprintf("blocks/%d.raw.gz", height)))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	b, err := rawtx.DecodeBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRun_RealBlocks: five consecutive blocks of July 2023, as a node serves them that has no others.
func TestRun_RealBlocks(t *testing.T) {
	c := &testchain.Chain{First: 799_990, Prices: []float64{29899.35, 29885.97, 29881.15, 29874.88, 29860.92}}
	for height := c.First; height <= c.First+4; height++ {
		c.Blocks = append(c.Blocks, realBlock(t, height))
	}
	n := c.Serve(t, 5)
	for _, rest := range []bool{true, false} {
		t.Run(fmt.Sprintf("REST %v", rest), func(t *testing.T) {
			client := redistest.Start(t)
			o := options(n, client, io.Discard)
			if !rest {
				o.Node = rpcOnly(t, n)
			}
			if err := Run(t.Context(), o, c.First, math.MaxInt64); err != nil {
				t.Fatal(err)
			}
			days, _, err := history.Days.ReadAll(t.Context(), client)
			if err != nil || len(days) != 1 || days[0].Blocks != 5 || days[0].Height != c.Tip() {
				t.Fatalf("got %+v, %v, want a day of five blocks", days, err)
			}
			d := days[0]
			for _, usd := range []float64{d.Open, d.High, d.Low, d.Close} {
				if usd < 0.995*29860 || usd > 1.005*29900 {
					t.Errorf("got %+v, want prices within 0.5 %% of 29,860 to 29,900", d)
				}
			}
		})
	}
}

// TestRun_SkipsUnreadableBlock: the block's price comes from those around it.
func TestRun_SkipsUnreadableBlock(t *testing.T) {
	client := redistest.Start(t)
	c := testchain.New(t, 4, 60, 300, time.Now().Add(-time.Minute))
	n := c.Serve(t, 60)
	bad := c.First + 30
	var log logtest.Log
	o := options(n, client, &log)
	o.Node = through(t, n, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		body, _ := io.ReadAll(r.Body)
		hash := c.Blocks[30].BlockHash().String()
		if strings.Contains(r.URL.Path, hash) || strings.Contains(string(body), `"getblock"`) && strings.Contains(string(body), hash) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"result":null,"error":{"code":-1,"message":"Can't read block from disk"},"id":`+idOf(body)+`}`)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		forward.ServeHTTP(w, r)
	})
	if err := Run(t.Context(), o, c.First, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	expectHistory(t, client, c, c.First, c.Tip())
	if got := testutil.ToFloat64(o.Metrics.skipped); got != 1 || log.Count("skipped a block that cannot be read") != 1 {
		t.Errorf("got %v skipped blocks, want block %d alone\n%s", got, bad, log.String())
	}
}

// TestRun_NodeWithoutBlocks: a node that has not all blocks is no node with damaged ones.
func TestRun_NodeWithoutBlocks(t *testing.T) {
	client := redistest.Start(t)
	c := testchain.New(t, 11, 120, 300, time.Now().Add(-time.Minute))
	n := c.Serve(t, 120)
	o := options(n, client, io.Discard)
	o.Workers = 1
	o.Node = through(t, n, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		body, _ := io.ReadAll(r.Body)
		for _, b := range c.Blocks[:40] {
			if hash := b.BlockHash().String(); strings.Contains(r.URL.Path, hash) || strings.Contains(string(body), `"getblock"`) && strings.Contains(string(body), hash) {
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = io.WriteString(w, `{"result":null,"error":{"code":-1,"message":"Block not available (not fully downloaded)"},"id":`+idOf(body)+`}`)
				return
			}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		forward.ServeHTTP(w, r)
	})
	if err := Run(t.Context(), o, c.First, math.MaxInt64); err == nil || !strings.Contains(err.Error(), "has the node all blocks?") {
		t.Errorf("got %v, want an error about the node", err)
	}
	if p, err := history.ReadProgress(t.Context(), client); err != nil || p != nil && p.From < c.First+40 {
		t.Errorf("got progress %+v, %v, want none below block %d", p, err, c.First+40)
	}
}

// idOf returns the id of a call.
func idOf(call []byte) string {
	var c struct {
		ID json.RawMessage `json:"id"`
	}
	_ = json.Unmarshal(call, &c)
	return string(c.ID)
}

// through returns a client of a node whose requests pass a handler.
func through(t testing.TB, n *testchain.Node, handle func(http.ResponseWriter, *http.Request, http.Handler)) *bitcoind.Client {
	t.Helper()
	target, err := url.Parse(n.RPCURL())
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, forward) }))
	t.Cleanup(server.Close)
	client, err := bitcoind.New(bitcoind.Options{URL: server.URL, User: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// rpcOnly returns a client of a node without REST.
func rpcOnly(t testing.TB, n *testchain.Node) *bitcoind.Client {
	return through(t, n, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Method == http.MethodGet {
			http.NotFound(w, r)
			return
		}
		forward.ServeHTTP(w, r)
	})
}

func TestRun_Errors(t *testing.T) {
	c := testchain.New(t, 5, 40, 300, time.Now().Add(-time.Minute))
	n := c.Serve(t, 40)
	empty := testchain.New(t, 5, 40, 0, time.Now().Add(-time.Minute)).Serve(t, 40)
	for name, k := range map[string]struct {
		node     *testchain.Node
		from, to int64
		before   func(*redis.Client)
		want     error
	}{
		"above the tip":     {n, c.Tip() + 1, math.MaxInt64, nil, ErrRange},
		"to before from":    {n, c.Tip(), c.Tip() - 1, nil, ErrRange},
		"no payments":       {empty, c.First, c.Tip(), nil, ErrNoPrice},
		"a newer history":   {n, c.First, c.Tip(), func(r *redis.Client) { r.Set(t.Context(), history.KeySchema, history.Schema+1, 0) }, history.ErrNewer},
		"a broken progress": {n, c.First, c.Tip(), func(r *redis.Client) { r.Set(t.Context(), history.KeyProgress, "{", 0) }, history.ErrInvalid},
		"another backfill":  {n, c.First, c.Tip(), func(r *redis.Client) { r.Set(t.Context(), history.KeyLease, "other", 0) }, ErrLease},
		"another network": {n, c.First, c.Tip(), func(r *redis.Client) {
			_ = history.Progress{Network: "signet", From: 1, To: 2}.Write(t.Context(), r)
		}, ErrNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			client := redistest.Start(t)
			if k.before != nil {
				k.before(client)
			}
			err := Run(t.Context(), options(k.node, client, io.Discard), k.from, k.to)
			if !errors.Is(err, k.want) || Temporary(err) != errors.Is(k.want, ErrLease) {
				t.Errorf("got %v, want %v, which is permanent unless it is the lease", err, k.want)
			}
			if rows := client.Exists(t.Context(), history.KeyBlocks, history.KeyHours, history.KeyDays).Val(); rows != 0 {
				t.Errorf("got %d series written, want none", rows)
			}
		})
	}
}

// TestRun_LosesLease: another backfill that has taken over is left alone.
func TestRun_LosesLease(t *testing.T) {
	client := redistest.Start(t)
	c := testchain.New(t, 6, 200, 100, time.Now().Add(-time.Minute))
	o := options(c.Serve(t, 200), client, io.Discard)
	o.Report = func(Report) { client.Set(t.Context(), history.KeyLease, "other", 0) }
	if err := Run(t.Context(), o, c.First, math.MaxInt64); !errors.Is(err, ErrLease) {
		t.Errorf("got %v, want ErrLease", err)
	}
	if holder := client.Get(t.Context(), history.KeyLease).Val(); holder != "other" {
		t.Errorf("got lease of %q, want it kept", holder)
	}
}

// TestRun_ContinuesAfterFailure fills Redis's memory, and then restarts the node: the error is temporary, and the next run completes the history.
func TestRun_ContinuesAfterFailure(t *testing.T) {
	client := redistest.Start(t)
	c := testchain.New(t, 7, 300, 100, time.Now().Add(-time.Minute))
	n := c.Serve(t, 300)
	o := options(n, client, io.Discard)
	o.Report = func(Report) { client.ConfigSet(t.Context(), "maxmemory", "1") }
	if err := Run(t.Context(), o, c.First, math.MaxInt64); err == nil || !Temporary(err) {
		t.Errorf("a full Redis: got %v, want a temporary error", err)
	}
	client.ConfigSet(t.Context(), "maxmemory", "0")
	// After the first day's Report all blocks may have been read, so the node counts: over 150 blocks are missing.
	o.Report = nil
	headers := 0
	n.Fail(func(method string) *replay.RPCError {
		if method == "getblockheader" {
			headers++
		}
		if headers > 100 {
			return &replay.RPCError{Code: -28, Message: "Loading block index..."}
		}
		return nil
	})
	if err := Run(t.Context(), o, c.First, math.MaxInt64); !errors.Is(err, bitcoind.ErrWarmingUp) || !Temporary(err) {
		t.Errorf("a node that restarts: got %v, want a temporary error", err)
	}
	n.Fail(nil)
	if err := Run(t.Context(), options(n, client, io.Discard), c.First, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	expectHistory(t, client, c, c.First, c.Tip())
}

// TestRun_Reorganisation replaces blocks at the tip.
func TestRun_Reorganisation(t *testing.T) {
	client := redistest.Start(t)
	before := testchain.New(t, 8, 60, 300, time.Now().Add(-time.Hour))
	if err := Run(t.Context(), options(before.Serve(t, 60), client, io.Discard), before.First, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	after := &testchain.Chain{First: before.First, Blocks: slices.Clone(before.Blocks[:55]), Prices: slices.Clone(before.Prices[:55])}
	for i := 55; i < 61; i++ {
		from := before.Blocks[min(i, 59)]
		after.Add(t, from.Header.Timestamp.Add(time.Duration(i)*time.Second), before.Prices[min(i, 59)], func(b *wire.MsgBlock) { b.Transactions = append(b.Transactions, from.Transactions[1:]...) })
	}
	if err := Run(t.Context(), options(after.Serve(t, 61), client, io.Discard), after.First, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	expectHistory(t, client, after, after.First, after.Tip())
}

// TestRun_HintCorrectsHistory: a live price is believed, and not a history that is off by a factor.
func TestRun_HintCorrectsHistory(t *testing.T) {
	client := redistest.Start(t)
	c := testchain.New(t, 10, 70, 300, time.Now().Add(-time.Minute))
	n := c.Serve(t, 60)
	var log logtest.Log
	o := options(n, client, &log)
	o.PriceHint = price.USD(2 * c.PriceAt(c.First+59))
	if err := Run(t.Context(), o, c.First, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		n.Mine(t)
	}
	o.PriceHint = price.USD(c.PriceAt(c.Tip()))
	if err := Run(t.Context(), o, c.First, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	rows, _, err := history.Blocks.Read(t.Context(), client, c.Tip()-9, c.Tip())
	if err != nil || len(rows) != 10 {
		t.Fatal(rows, err)
	}
	for _, b := range rows {
		if truth := c.PriceAt(b.Height); math.Abs(b.Price/truth-1) > 0.02 {
			t.Errorf("block %d: got %v, want %.2f", b.Height, b.Price, truth)
		}
	}
	if log.Count("another price than the hint") != 1 {
		t.Errorf("got no warning about the history's wrong price\n%s", log.String())
	}
}

// TestRun_MinersClock: a block's time that is two hours off is that of its neighbours.
func TestRun_MinersClock(t *testing.T) {
	client := redistest.Start(t)
	c := testchain.New(t, 9, 60, 300, time.Now().Add(-3*time.Hour))
	c.Blocks[30].Header.Timestamp = c.Blocks[30].Header.Timestamp.Add(2 * time.Hour)
	for i := 31; i < len(c.Blocks); i++ {
		c.Blocks[i].Header.PrevBlock = c.Blocks[i-1].BlockHash()
	}
	if err := Run(t.Context(), options(c.Serve(t, 60), client, io.Discard), c.First, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	rows, _, err := history.Blocks.ReadAll(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(rows); i++ {
		if rows[i].Timestamp < rows[i-1].Timestamp {
			t.Errorf("got block %d before the one below it", rows[i].Height)
		}
	}
	if got, most := rows[30].Timestamp, c.Blocks[36].Header.Timestamp.Unix(); got > most {
		t.Errorf("got time %d, want %d at most", got, most)
	}
}

// BenchmarkRun measures a backfill of real blocks of 2,400 to 2,900 transactions, from a replay's REST or RPC in the same process to Redis.
func BenchmarkRun(b *testing.B) {
	const copies = 24
	c := &testchain.Chain{First: 800_000}
	at := time.Now().Add(-200 * 24 * time.Hour)
	txs := 0
	for range copies {
		for _, height := range []int64{849236, 702861, 550000, 627714} {
			real := realBlock(b, height)
			at = at.Add(10 * time.Minute)
			c.Add(b, at, 1, func(m *wire.MsgBlock) { m.Transactions = append(m.Transactions, real.Transactions[1:]...) })
			txs += len(real.Transactions)
		}
	}
	n := c.Serve(b, len(c.Blocks))
	client := redistest.Start(b)
	for _, way := range []struct {
		name string
		node *bitcoind.Client
	}{{"REST", n.Client}, {"RPC", rpcOnly(b, n)}} {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				client.FlushAll(b.Context())
				o := Options{Node: way.node, Redis: client, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()), Workers: runtime.NumCPU(), PriceHint: 60_000}
				if err := Run(b.Context(), o, c.First, math.MaxInt64); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(c.Blocks)*b.N)/b.Elapsed().Seconds(), "blocks/s")
			b.ReportMetric(float64(txs)/float64(len(c.Blocks)), "transactions/block")
		})
	}
}
