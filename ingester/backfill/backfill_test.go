package backfill

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/payment"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
	"sightglass/ingester/txfile"
	"sightglass/shared/history"
)

// startRedis runs a redis-server on a unix socket until the test ends.
func startRedis(t testing.TB) *redis.Client {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed: make deps installs it")
	}
	socket := filepath.Join(t.TempDir(), "redis.sock")
	server := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: 50})
	t.Cleanup(func() {
		client.Close()
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatalf("redis-server does not respond: %v", err)
	}
	return client
}

// A testChain is a chain of blocks that a replay serves.
type testChain struct {
	first  int64 // height
	blocks []*wire.MsgBlock
	prices []float64 // true ones
}

// madeUp returns a chain of blocks, ten minutes apart on average, up to a time. The amounts are those of a real block,
// drawn at random and scaled to a price that wanders by 4 % a day.
func madeUp(t testing.TB, seed uint64, n, payments int, end time.Time) *testChain {
	t.Helper()
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	amounts := slices.Concat(payment.All(file.Transactions)...)
	c := &testChain{first: 800_000}
	rng := rand.New(rand.NewPCG(seed, 1))
	gaps := make([]time.Duration, n)
	at := end
	for i := range gaps {
		gaps[i] = time.Duration((60 + rng.ExpFloat64()*540) * float64(time.Second))
		at = at.Add(-gaps[i])
	}
	usd := testblock.Price574200
	for _, gap := range gaps {
		at = at.Add(gap)
		usd *= math.Exp(rng.NormFloat64() * 0.04 * math.Sqrt(gap.Hours()/24))
		c.add(t, at, usd, func(b *wire.MsgBlock) {
			for range payments {
				a := float64(amounts[rng.IntN(len(amounts))]) * testblock.Price574200 / usd
				tx := wire.NewMsgTx(2)
				tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{Index: rng.Uint32()}, nil, wire.TxWitness{make([]byte, 71), make([]byte, 33)}))
				tx.AddTxOut(wire.NewTxOut(int64(a), append([]byte{0, 20}, make([]byte, 20)...)))
				_ = b.AddTransaction(tx)
			}
		})
	}
	return c
}

// add adds a block, with a coinbase that states its height.
func (c *testChain) add(t testing.TB, at time.Time, usd float64, fill func(*wire.MsgBlock)) {
	t.Helper()
	b := &wire.MsgBlock{Header: wire.BlockHeader{Version: 4, Timestamp: time.Unix(at.Unix(), 0)}}
	if n := len(c.blocks); n > 0 {
		b.Header.PrevBlock = c.blocks[n-1].BlockHash()
	} else {
		b.Header.PrevBlock = chainhash.Hash{1}
	}
	height, err := txscript.NewScriptBuilder().AddInt64(c.first + int64(len(c.blocks))).AddInt64(1).Script()
	if err != nil {
		t.Fatal(err)
	}
	coinbase := wire.NewMsgTx(2)
	coinbase.AddTxIn(wire.NewTxIn(&wire.OutPoint{Index: wire.MaxPrevOutIndex}, height, nil))
	coinbase.AddTxOut(wire.NewTxOut(3_125_000_000, []byte{txscript.OP_TRUE}))
	_ = b.AddTransaction(coinbase)
	fill(b)
	c.blocks, c.prices = append(c.blocks, b), append(c.prices, usd)
}

func (c *testChain) tip() int64 { return c.first + int64(len(c.blocks)) - 1 }

func (c *testChain) priceAt(height int64) float64 { return c.prices[height-c.first] }

// A testNode serves a chain over RPC, and is a client of itself.
type testNode struct {
	*replay.Node
	client *bitcoind.Client
	lines  int
}

// serve serves the first n blocks; step serves one more.
func (c *testChain) serve(t testing.TB, n int) *testNode {
	t.Helper()
	start := c.blocks[0].Header.Timestamp
	var lines []transcript.Line
	for i, b := range c.blocks {
		var raw bytes.Buffer
		if err := b.Serialize(&raw); err != nil {
			t.Fatal(err)
		}
		at := b.Header.Timestamp.Sub(start).Seconds()
		hash := b.BlockHash()
		slices.Reverse(hash[:])
		lines = append(lines,
			transcript.Line{T: at, Topic: transcript.TopicRawBlock, Body: raw.Bytes(), Counter: uint32(i)},
			transcript.Line{T: at, Topic: transcript.TopicSequence, Body: append(hash[:], 'C'), Counter: uint32(i)})
	}
	node, err := replay.NewNode(replay.NodeOptions{
		Endpoint: "tcp://127.0.0.1:*", RPCListen: "127.0.0.1:0", Start: start, Speed: 1, Log: slog.New(slog.DiscardHandler),
	}, lines)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	client, err := bitcoind.New(bitcoind.Options{URL: node.RPCURL(), User: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	served := &testNode{Node: node, client: client}
	for range n {
		served.step(t)
	}
	return served
}

func (n *testNode) step(t testing.TB) {
	t.Helper()
	for range 2 {
		if _, ok, err := n.Step(replay.Deliver); !ok || err != nil {
			t.Fatalf("got %v, %v, want a block", ok, err)
		}
	}
}

func options(n *testNode, client *redis.Client, log io.Writer) Options {
	return Options{
		Node: n.client, Redis: client, Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: NewMetrics(prometheus.NewRegistry()), Workers: 2,
	}
}

// expectHistory fails unless the history has the prices of a chain's blocks from one height to another, within 1 % but
// for a few, in blocks, hours and days.
func expectHistory(t *testing.T, client *redis.Client, c *testChain, from, to int64) {
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
		truth := c.priceAt(b.Height)
		if math.Abs(b.Price/truth-1) > 0.01 {
			off++
		}
		if want := c.blocks[b.Height-c.first].Header.Timestamp.Unix(); b.Timestamp != want {
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
	client := startRedis(t)
	c := madeUp(t, 1, 330, 300, time.Now().Add(-time.Minute))
	n := c.serve(t, 300)
	from := c.first + 150
	if err := Run(t.Context(), options(n, client, io.Discard), from, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	expectHistory(t, client, c, from, c.first+299)
	for range 30 {
		n.step(t)
	}
	if err := Run(t.Context(), options(n, client, io.Discard), c.first, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	expectHistory(t, client, c, c.first, c.tip())
}

// TestRun_ContinuesAfterStop stops runs after each day that they have written.
func TestRun_ContinuesAfterStop(t *testing.T) {
	client := startRedis(t)
	c := madeUp(t, 2, 500, 200, time.Now().Add(-time.Minute))
	n := c.serve(t, 500)
	for runs := 1; ; runs++ {
		ctx, stop := context.WithCancel(t.Context())
		o := options(n, client, io.Discard)
		o.Report = func(Report) { stop() }
		err := Run(ctx, o, c.first, math.MaxInt64)
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
	expectHistory(t, client, c, c.first, c.tip())
}

// TestRun_OldDays has blocks of a time of which only candles are kept, and stops in the middle of a day.
func TestRun_OldDays(t *testing.T) {
	client := startRedis(t)
	c := madeUp(t, 3, 500, 200, time.Now().Add(-100*24*time.Hour))
	n := c.serve(t, 500)
	ends := []struct{ from, to int64 }{{c.first + 250, c.first + 350}, {c.first + 100, c.first + 350}, {c.first, c.tip()}}
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
		if truth := c.priceAt(d.Height); math.Abs(d.Close/truth-1) > 0.02 {
			t.Errorf("day %d: got %v at its end, want %v", d.Start, d.Close, truth)
		}
	}
	if blocks != 500 || days[len(days)-1].Height != c.tip() {
		t.Errorf("got %d blocks in %d days, want all 500", blocks, len(days))
	}
}
