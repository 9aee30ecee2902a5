package ingester

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/node"
	"sightglass/ingester/price"
	"sightglass/ingester/replay"
	"sightglass/ingester/transcript"
	"sightglass/shared/contract"
)

// mempoolOf makes a transcript of a node that receives n transactions over a span: real ones with different txids.
func mempoolOf(t testing.TB, n int, span time.Duration) []transcript.Line {
	t.Helper()
	txs := block(t)[1:]
	lines := make([]transcript.Line, 0, 2*n)
	for i := range n {
		tx := *txs[i%len(txs)]
		tx.LockTime += uint32(i / len(txs))
		var body bytes.Buffer
		if err := tx.Serialize(&body); err != nil {
			t.Fatal(err)
		}
		at, id := span.Seconds()*float64(i)/float64(n), tx.TxHash()
		change, err := hex.DecodeString(id.String())
		if err != nil {
			t.Fatal(err)
		}
		change = binary.LittleEndian.AppendUint64(append(change, 'A'), uint64(i+1))
		lines = append(lines,
			transcript.Line{T: at, Topic: node.TopicRawTx, Body: body.Bytes(), Counter: uint32(i)},
			transcript.Line{T: at, Topic: node.TopicSequence, Body: change, Counter: uint32(i)})
	}
	return lines
}

// nextTo is an engine with a replayed node.
type nextTo struct {
	node   *replay.Node
	engine *engine
	events chan node.Event
}

func newNextTo(t testing.TB, lines []transcript.Line, o replay.NodeOptions, rpc bool) *nextTo {
	t.Helper()
	o.Endpoint, o.Log = "tcp://127.0.0.1:*", slog.New(slog.DiscardHandler)
	if rpc {
		o.RPCListen = "127.0.0.1:0"
	}
	theirs, err := replay.NewNode(o, lines)
	if err != nil {
		t.Fatal(err)
	}
	p, err := price.New(price.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &nextTo{
		node: theirs, events: make(chan node.Event, maxPending),
		engine: newEngine(Defaults(), p, time.Now(), prometheus.NewRegistry()),
	}
}

// listen starts the ingester's node. It stops with the test.
func (x *nextTo) listen(t testing.TB) {
	t.Helper()
	o := node.Options{ZMQ: []string{x.node.Endpoint()}, Window: 3 * time.Hour, Log: slog.New(slog.DiscardHandler)}
	if url := x.node.RPCURL(); url != "" {
		var err error
		if o.RPC, err = bitcoind.New(bitcoind.Options{URL: url, User: "u", Password: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	ours, err := node.New(o, node.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ours.Run(ctx, x.events) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		x.node.Close()
	})
}

// BenchmarkBurst: 100,000 transactions as fast as a socket accepts them.
func BenchmarkBurst(b *testing.B) {
	const burst = 100_000
	for range b.N {
		b.StopTimer()
		x := newNextTo(b, mempoolOf(b, burst, time.Hour), replay.NodeOptions{}, false)
		x.listen(b)
		if err := x.node.AwaitSubscriber(b.Context(), node.TopicSequence); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		sent := make(chan error, 1)
		go func() {
			for {
				if _, ok, err := x.node.Step(replay.Deliver); !ok || err != nil {
					sent <- err
					return
				}
			}
		}()
		var heap uint64
		for n := range burst {
			x.engine.apply(<-x.events)
			if n%10_000 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				heap = max(heap, m.HeapAlloc)
			}
		}
		if err := <-sent; err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(heap)/1e6, "heap-MB")
	}
	b.ReportMetric(burst*float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}

// BenchmarkLag measures the time from a message's arrival to its evidence, at 1,000 transactions a second and a tick
// every half second.
func BenchmarkLag(b *testing.B) {
	const perSecond, seconds = 1000, 5
	var lags []time.Duration
	for range b.N {
		lines := mempoolOf(b, perSecond*seconds, seconds*time.Second)
		x := newNextTo(b, lines, replay.NodeOptions{Speed: 1}, false)
		x.listen(b)
		ctx, cancel := context.WithCancel(b.Context())
		played := make(chan error, 1)
		go func() { played <- x.node.Run(ctx) }()
		ticks := time.NewTicker(500 * time.Millisecond)
		for n := 0; n < perSecond*seconds; {
			select {
			case ev := <-x.events:
				x.engine.apply(ev)
				lags = append(lags, time.Since(ev.Received))
				n++
			case now := <-ticks.C:
				x.engine.tick(now)
			}
		}
		ticks.Stop()
		cancel()
		if err := <-played; err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(lags)
	b.ReportMetric(float64(lags[len(lags)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(lags[len(lags)*99/100].Microseconds()), "p99-us")
}

// BenchmarkWarmStart measures the backfill from a node with 100,000 transactions of the last 5 h in its mempool.
func BenchmarkWarmStart(b *testing.B) {
	const mempool = 100_000
	for range b.N {
		b.StopTimer()
		x := newNextTo(b, mempoolOf(b, mempool, 5*time.Hour), replay.NodeOptions{Speed: 1, Start: time.Now().Add(-5 * time.Hour)}, true)
		for ok := true; ok; { // the node runs before the ingester starts
			var err error
			if _, ok, err = x.node.Step(replay.Drop); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		start := time.Now()
		x.listen(b)
		ticks := time.NewTicker(500 * time.Millisecond)
		var first time.Duration
		for n := 0; n < mempool*3/5-mempool/100; {
			select {
			case ev := <-x.events:
				x.engine.apply(ev)
				n++
			case now := <-ticks.C:
				if s := decode(b, x.engine.tick(now)); first == 0 && s.Status == contract.Live {
					first = time.Since(start)
				}
			}
		}
		ticks.Stop()
		b.ReportMetric(first.Seconds(), "first-price-s")
		b.ReportMetric(time.Since(start).Seconds(), "filled-s")
	}
}
