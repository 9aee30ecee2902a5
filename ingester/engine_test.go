package ingester

import (
	"bytes"
	"encoding/binary"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sightglass/ingester/node"
	"sightglass/ingester/price"
	"sightglass/ingester/publish"
	"sightglass/ingester/rawtx"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
	"sightglass/shared/contract"
)

var start = time.Unix(1_556_771_671, 0)

func testEngine(t testing.TB) *engine {
	t.Helper()
	p, err := price.New(price.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(Defaults(), p, start, prometheus.NewRegistry())
	return e
}

func block(t testing.TB) []*wire.MsgTx {
	t.Helper()
	f, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f.Transactions
}

func seen(tx *wire.MsgTx, at time.Time) node.Event {
	return node.Event{Kind: node.Seen, ID: tx.TxHash(), Tx: tx, At: at}
}

// decode encodes a tick's snapshot as the publisher does, and decodes it.
func decode(t testing.TB, tick *publish.Tick) *contract.Snapshot {
	t.Helper()
	tick.Snapshot.Epoch, tick.Snapshot.Seq = "7", 1
	s, err := contract.DecodeSnapshot(tick.Snapshot.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEngine_FirstSnapshotIsWarming(t *testing.T) {
	s := decode(t, testEngine(t).tick(start))
	if s.Status != contract.Warming || s.Price != 0 || s.Confidence != 0 || len(s.Transactions) != 0 {
		t.Errorf("got %+v, want warming without a price", s)
	}
}

// TestStatusOf_HasEveryStatus: each status of the price engine has the name that it has there.
func TestStatusOf_HasEveryStatus(t *testing.T) {
	for _, s := range []price.Status{price.Warming, price.Live, price.Contested} {
		if got := statusOf(s); string(got) != s.String() || !slices.Contains(statuses[:], got) {
			t.Errorf("got %q for %v, want the same and a metric of it", got, s)
		}
	}
}

// TestEngine_LosesPrice: without an estimate there are no points, and with the next one all of them are back.
func TestEngine_LosesPrice(t *testing.T) {
	e := testEngine(t)
	for _, tx := range block(t) {
		e.apply(seen(tx, start))
	}
	before := decode(t, e.tick(start)).Transactions
	e.points.SetEstimate(0)
	if got := e.points.AppendTo(nil); len(got) != 0 {
		t.Errorf("got %d points without a price, want none", len(got))
	}
	if got := decode(t, e.tick(start)).Transactions; len(got) != len(before) {
		t.Errorf("got %d points with the price back, want %d", len(got), len(before))
	}
}

func TestEngine_PriceOfBlock(t *testing.T) {
	e := testEngine(t)
	for _, tx := range block(t) {
		e.apply(seen(tx, start))
		e.apply(seen(tx, start)) // a node publishes it again when it is mined
	}
	now := start.Add(time.Second)
	e.tick(now)
	s := decode(t, e.tick(now.Add(500*time.Millisecond)))
	if s.Status != contract.Live || math.Abs(s.Price/testblock.Price574200-1) > 0.01 {
		t.Errorf("got %s with price %v, want live and within 1 %% of 5313.57", s.Status, s.Price)
	}
	if s.Stats.TotalReceived != 3315 || s.Stats.TotalFiltered+s.Stats.ActiveInWindow != 3315 || s.Stats.UptimeSeconds != 1 {
		t.Errorf("got stats %+v, want 3315 received, each filtered or active", s.Stats)
	}
	if s.Timestamp != 1_556_771_672.5 {
		t.Errorf("got a snapshot of %v, want the tick's time", s.Timestamp)
	}
	if len(s.Transactions) != contract.MaxTransactions {
		t.Errorf("got %d points, want %d", len(s.Transactions), contract.MaxTransactions)
	}
	for _, p := range s.Transactions {
		if math.Abs(p.Price/s.Price-1) > 0.11 { // within 10 % of the estimate at its time, which may have moved by 1 % since
			t.Fatalf("got a point at %v with the price at %v, want it within 11 %%", p.Price, s.Price)
		}
	}
}

// TestEngine_EveryOtherTickHasAmounts: the points are the snapshot's, and each amount is that of an output.
func TestEngine_EveryOtherTickHasAmounts(t *testing.T) {
	e := testEngine(t)
	paid := make(map[int64]bool) // satoshi
	for _, tx := range block(t) {
		e.apply(seen(tx, start))
		for _, out := range tx.TxOut {
			paid[out.Value] = true
		}
	}
	if got := e.tick(start).Points; got != nil {
		t.Errorf("got %d points with amounts from an odd tick, want none", len(got))
	}
	tick := e.tick(start)
	s := decode(t, tick)
	points, err := contract.DecodePointAmounts(contract.AppendPointAmounts(nil, tick.Points))
	if err != nil || len(points) != len(s.Transactions) || len(points) == 0 {
		t.Fatalf("got %d points for a snapshot of %d, error %v, want the same", len(points), len(s.Transactions), err)
	}
	for i, p := range points {
		if s.Transactions[i] != (contract.Point{Timestamp: p.Timestamp, Price: p.Price}) {
			t.Fatalf("got point %d as %+v, want the snapshot's %+v", i, p, s.Transactions[i])
		}
		if !isPaid(paid, p) {
			t.Fatalf("got a point of %v USD at %v, want one that an output pays", p.Amount, p.Price)
		}
	}
}

// TestEngine_EvidenceOnceAMinute: with the first price, then once a minute, and sooner after a move of over 1 % or with half
// as many payments more, but not within 10 s.
func TestEngine_EvidenceOnceAMinute(t *testing.T) {
	e := testEngine(t)
	if got := e.tick(start).Evidence; got != nil {
		t.Errorf("got evidence for the price %v without one, want none", got.Price)
	}
	for _, tx := range block(t) {
		e.apply(seen(tx, start))
	}
	now := start.Add(time.Second)
	first := e.tick(now)
	if v := first.Evidence; v == nil || v.Price != first.Snapshot.Price || v.Low != first.Snapshot.Low || v.High != first.Snapshot.High ||
		math.Abs(v.Confidence-first.Snapshot.Confidence) > 0.001 || v.Timestamp != first.Snapshot.Timestamp {
		t.Errorf("got %+v with the first price, want evidence of the snapshot's price %v", v, first.Snapshot.Price)
	}
	shown := price.Estimate{Price: price.USD(first.Snapshot.Price), Outputs: 1000}
	for after, due := range map[time.Duration]bool{
		0: false, 500 * time.Millisecond: false, 9 * time.Second: false, 59 * time.Second: false, time.Minute: true, -time.Hour: true,
	} {
		e.shownAt, e.shown = now, shown
		if got := e.evidence(price.Estimate{Price: shown.Price * 1.009, Outputs: 1499}, now.Add(after)) != nil; got != due {
			t.Errorf("%v later: got evidence %v, want %v", after, got, due)
		}
	}
	for after, due := range map[time.Duration]bool{500 * time.Millisecond: false, 9 * time.Second: false, 10 * time.Second: true} {
		for _, est := range []price.Estimate{
			{Price: shown.Price * 0.98, Outputs: 1000}, {Price: shown.Price * 1.02, Outputs: 1000}, {Price: shown.Price, Outputs: 1501},
		} {
			e.shownAt, e.shown = now, shown
			if got := e.evidence(est, now.Add(after)) != nil; got != due {
				t.Errorf("%v later, at %+v after %+v: got evidence %v, want %v", after, est, shown, got, due)
			}
		}
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

// TestEngine_RemovalRestoresEstimate: after a transaction's removal the price, the points and the stats are as without
// it.
func TestEngine_RemovalRestoresEstimate(t *testing.T) {
	txs := block(t)
	stay, goes := txs[:2000], txs[2000:]
	with, without := testEngine(t), testEngine(t)
	for _, tx := range stay {
		with.apply(seen(tx, start))
		without.apply(seen(tx, start))
	}
	for _, tx := range goes {
		with.apply(seen(tx, start))
	}
	for _, tx := range goes {
		with.apply(node.Event{Kind: node.Gone, ID: tx.TxHash(), At: start})
	}
	now := start.Add(time.Second)
	a, b := decode(t, with.tick(now)), decode(t, without.tick(now))
	if math.Abs(a.Price/b.Price-1) > 1e-4 || math.Abs(a.Confidence-b.Confidence) > 0.01 {
		t.Errorf("got price %v (%v) after the removals, want %v (%v) as without them", a.Price, a.Confidence, b.Price, b.Confidence)
	}
	if a.Stats.ActiveInWindow != b.Stats.ActiveInWindow {
		t.Errorf("got %d active, want %d", a.Stats.ActiveInWindow, b.Stats.ActiveInWindow)
	}
}

func TestEngine_IgnoresRemovalOfUnknown(t *testing.T) {
	e := testEngine(t)
	e.apply(node.Event{Kind: node.Gone, At: start})
	if s := decode(t, e.tick(start)); s.Stats.ActiveInWindow != 0 {
		t.Errorf("got %+v, want no transaction", s.Stats)
	}
}

func TestEngine_WindowExpires(t *testing.T) {
	e := testEngine(t)
	for _, tx := range block(t) {
		e.apply(seen(tx, start))
	}
	s := decode(t, e.tick(start.Add(3*time.Hour+time.Minute)))
	if s.Stats.ActiveInWindow != 0 || s.Stats.TotalReceived != 3315 {
		t.Errorf("got %+v, want none active", s.Stats)
	}
}

// TestEngine_ClockSetBack: a machine's clock is ahead for its first seconds, and is then corrected. Transactions from
// before count as seen now, and later ones count; otherwise the window would ignore them until the clock reached the
// old time.
func TestEngine_ClockSetBack(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"two minutes": 2 * time.Minute, "four hours": 4 * time.Hour, "a year": 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			txs := block(t)
			first, second, late := txs[:1500], txs[1500:3000], txs[3000:]
			e, now := testEngine(t), start
			wrong := func() time.Time { return now.Add(ahead) }
			e.tick(wrong())
			for _, tx := range first {
				e.apply(seen(tx, wrong()))
			}
			now = now.Add(500 * time.Millisecond)
			e.tick(wrong())
			e.apply(node.Event{Kind: node.Gone, ID: first[100].TxHash(), At: wrong()})

			now = now.Add(500 * time.Millisecond)
			e.tick(now) // the clock is corrected
			for _, tx := range second {
				e.apply(seen(tx, now))
			}
			for _, tx := range late {
				e.apply(seen(tx, wrong())) // they were queued during the correction
			}
			now = now.Add(time.Minute)
			s := decode(t, e.tick(now))
			if s.Status != contract.Live || math.Abs(s.Price/testblock.Price574200-1) > 0.01 {
				t.Errorf("got %s with price %v, want live and within 1 %% of 5313.57", s.Status, s.Price)
			}
			if s.Stats.TotalReceived != uint64(len(txs)) {
				t.Errorf("got %d received, want %d", s.Stats.TotalReceived, len(txs))
			}
			for _, p := range s.Transactions {
				if p.Timestamp > s.Timestamp {
					t.Fatalf("got a point of %v in a snapshot of %v, want none from the future", p.Timestamp, s.Timestamp)
				}
			}
			if n := testutil.ToFloat64(e.metrics.setBack); n != 1 {
				t.Errorf("got %v counted steps back, want 1", n)
			}
			fresh := testEngine(t)
			for _, tx := range txs {
				if tx != first[100] {
					fresh.apply(seen(tx, start))
				}
			}
			if want := decode(t, fresh.tick(start)).Stats.ActiveInWindow; s.Stats.ActiveInWindow != want {
				t.Errorf("got %d active, want %d", s.Stats.ActiveInWindow, want)
			}
			if s := decode(t, e.tick(now.Add(windowSpan+2*time.Minute))); s.Stats.ActiveInWindow != 0 {
				t.Errorf("got %d active a window later, want none", s.Stats.ActiveInWindow)
			}
		})
	}
}

// TestEngine_ClockSetForward: after the correction of a clock that was hours behind, evidence of the wrong times is
// dropped, and new transactions count.
func TestEngine_ClockSetForward(t *testing.T) {
	txs := block(t)
	e := testEngine(t)
	for _, tx := range txs[:1500] {
		e.apply(seen(tx, start))
	}
	e.tick(start)
	now := start.Add(5 * time.Hour)
	e.apply(seen(txs[1500], now)) // before the first tick of the corrected clock
	e.tick(now)
	for _, tx := range txs[1501:] {
		e.apply(seen(tx, now))
	}
	s := decode(t, e.tick(now.Add(time.Second)))
	if s.Status != contract.Live || math.Abs(s.Price/testblock.Price574200-1) > 0.01 {
		t.Errorf("got %s with price %v, want live and within 1 %% of 5313.57", s.Status, s.Price)
	}
}

// fill adds n transactions with different txids to an engine, spread over the 3 h before end.
func fill(t testing.TB, e *engine, n int) (end time.Time) {
	t.Helper()
	txs := block(t)
	for i := range n {
		tx := *txs[i%len(txs)]
		tx.LockTime = uint32(i) // another txid
		at := start.Add(time.Duration(i) * windowSpan / time.Duration(n))
		e.followClock(at)
		e.apply(seen(&tx, at))
	}
	return start.Add(windowSpan)
}

const windowSpan = 3*time.Hour - time.Minute

// TestEngine_BytesPerTransaction measures the memory per transaction, with fixed costs spread over 100,000.
func TestEngine_BytesPerTransaction(t *testing.T) {
	const n = 100_000
	before := heap()
	e := testEngine(t)
	e.tick(fill(t, e, n))
	if each := (heap() - before) / n; each > 300 {
		t.Errorf("got %d bytes per transaction, want fewer", each)
	} else {
		t.Logf("%d bytes per transaction with %d transactions", each, n)
	}
	runtime.KeepAlive(e)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkTick measures a tick with 100,000 transactions in the window, some of them new.
func BenchmarkTick(b *testing.B) {
	const n = 100_000
	before := heap()
	e := testEngine(b)
	now := fill(b, e, n)
	e.tick(now)
	kept := float64(heap()-before) / n
	txs, i := block(b), 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		tx := *txs[i%len(txs)]
		tx.LockTime = uint32(1<<30 + i)
		e.apply(seen(&tx, now))
		e.tick(now)
	}
	b.ReportMetric(kept, "B/tx-kept")
}

// BenchmarkTransaction measures a transaction's whole path from a node's bytes: parse, txid, filter, window, evidence,
// points. 10,000 arrive per second of the engine's time, with a tick every 500 ms.
func BenchmarkTransaction(b *testing.B) {
	e := testEngine(b)
	var raws [][]byte
	for _, tx := range block(b) {
		var raw bytes.Buffer
		if err := tx.Serialize(&raw); err != nil {
			b.Fatal(err)
		}
		raws = append(raws, raw.Bytes())
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		raw := raws[i%len(raws)]
		binary.LittleEndian.PutUint32(raw[len(raw)-4:], uint32(i)) // the lock time: another txid
		tx, err := rawtx.Decode(raw)
		if err != nil {
			b.Fatal(err)
		}
		now := start.Add(time.Duration(i) * 100 * time.Microsecond)
		e.apply(seen(tx, now))
		if i%5000 == 0 {
			e.tick(now)
		}
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}

// TestEngine_OmitsTokenFunding has an inscription's commit before and after its reveal, as a backfill has no order.
func TestEngine_OmitsTokenFunding(t *testing.T) {
	pay := func(of chainhash.Hash, amounts ...int64) *wire.MsgTx {
		tx := wire.NewMsgTx(2)
		tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{Hash: of}, nil, nil))
		for _, a := range amounts {
			tx.AddTxOut(wire.NewTxOut(a, make([]byte, 22)))
		}
		return tx
	}
	commit := pay(chainhash.Hash{1}, 54_321, 98_765)
	reveal := pay(commit.TxHash(), 12_345)
	reveal.TxIn[0].Witness = wire.TxWitness{{0x00, 0x63, 0x03, 'o', 'r', 'd'}}
	other := pay(chainhash.Hash{2}, 11_223)
	for name, txs := range map[string][]*wire.MsgTx{
		"commit first": {other, commit, reveal, commit},
		"reveal first": {reveal, commit, other, reveal},
	} {
		e := testEngine(t)
		for _, tx := range txs {
			e.apply(seen(tx, start))
		}
		if got := e.window.Active(); got != 1 {
			t.Errorf("%s: got %d transactions with payments, want the other one", name, got)
		}
		if e.received != 3 || e.filtered != 2 {
			t.Errorf("%s: got %d received and %d filtered, want 3 and 2", name, e.received, e.filtered)
		}
	}
}
