package ingester

import (
	"bytes"
	"encoding/binary"
	"math"
	"runtime"
	"testing"
	"time"

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
		t.Errorf("got %+v", s)
	}
}

func TestEngine_PriceOfBlock(t *testing.T) {
	e := testEngine(t)
	for _, tx := range block(t) {
		e.apply(seen(tx, start))
		e.apply(seen(tx, start)) // a node tells of it again when it is mined
	}
	now := start.Add(time.Second)
	e.tick(now)
	s := decode(t, e.tick(now.Add(500*time.Millisecond)))
	if s.Status != contract.Live || math.Abs(s.Price/testblock.Price574200-1) > 0.01 {
		t.Errorf("%s, price %v, want live and within 1 %% of 5313.57", s.Status, s.Price)
	}
	if s.Stats.TotalReceived != 3315 || s.Stats.TotalFiltered+s.Stats.ActiveInWindow != 3315 || s.Stats.UptimeSeconds != 1 {
		t.Errorf("stats %+v, want 3315 received, each filtered or active", s.Stats)
	}
	if s.Timestamp != 1_556_771_672.5 {
		t.Errorf("got a snapshot of %v", s.Timestamp)
	}
	if len(s.Transactions) != contract.MaxTransactions {
		t.Errorf("%d points, want %d", len(s.Transactions), contract.MaxTransactions)
	}
	for _, p := range s.Transactions {
		if math.Abs(p.Price/s.Price-1) > 0.11 { // 10 % of the estimate when it was taken, which may since move by 1 %
			t.Fatalf("a point at %v with the price at %v", p.Price, s.Price)
		}
	}
}

// TestEngine_EveryOtherTickHasAmounts: of the same points as the snapshot, and each is an output that was paid.
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
		t.Errorf("an odd tick has %d points with amounts, want none", len(got))
	}
	tick := e.tick(start)
	s := decode(t, tick)
	points, err := contract.DecodePointAmounts(contract.AppendPointAmounts(nil, tick.Points))
	if err != nil || len(points) != len(s.Transactions) || len(points) == 0 {
		t.Fatalf("%d points for a snapshot of %d: %v", len(points), len(s.Transactions), err)
	}
	for i, p := range points {
		if s.Transactions[i] != (contract.Point{Timestamp: p.Timestamp, Price: p.Price}) {
			t.Fatalf("number %d is %+v, in the snapshot %+v", i, p, s.Transactions[i])
		}
		if !isPaid(paid, p) {
			t.Fatalf("no output is worth %v USD at %v", p.Amount, p.Price)
		}
	}
}

// isPaid reports whether an output has the worth that a point tells, as far as cents do: they leave some satoshi open.
func isPaid(paid map[int64]bool, p contract.PointAmount) bool {
	least, most := 1e8*p.Amount/(p.Price+0.005), 1e8*p.Amount/(p.Price-0.005)
	for satoshi := int64(math.Floor(least)); satoshi <= int64(math.Ceil(most)); satoshi++ {
		if paid[satoshi] {
			return true
		}
	}
	return false
}

// TestEngine_RemovalRestoresEstimate: a transaction that the node takes back leaves the price, the points and the stats as if
// it had not come.
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
		t.Errorf("price %v (%v) after the removals, %v (%v) without them", a.Price, a.Confidence, b.Price, b.Confidence)
	}
	if a.Stats.ActiveInWindow != b.Stats.ActiveInWindow {
		t.Errorf("%d active, want %d", a.Stats.ActiveInWindow, b.Stats.ActiveInWindow)
	}
}

func TestEngine_IgnoresRemovalOfUnknown(t *testing.T) {
	e := testEngine(t)
	e.apply(node.Event{Kind: node.Gone, At: start})
	if s := decode(t, e.tick(start)); s.Stats.ActiveInWindow != 0 {
		t.Errorf("got %+v", s.Stats)
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

// TestEngine_ClockSetBack: a machine whose clock is hours ahead for its first seconds, and is then set right. What came
// before counts as seen now, and what comes then counts; without this the window was deaf until the clock was where it
// had been.
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
			e.tick(now) // the clock is right
			for _, tx := range second {
				e.apply(seen(tx, now))
			}
			for _, tx := range late {
				e.apply(seen(tx, wrong())) // they waited while the clock was set
			}
			now = now.Add(time.Minute)
			s := decode(t, e.tick(now))
			if s.Status != contract.Live || math.Abs(s.Price/testblock.Price574200-1) > 0.01 {
				t.Errorf("%s, price %v, want live and within 1 %% of 5313.57", s.Status, s.Price)
			}
			if s.Stats.TotalReceived != uint64(len(txs)) {
				t.Errorf("%d received, want %d", s.Stats.TotalReceived, len(txs))
			}
			for _, p := range s.Transactions {
				if p.Timestamp > s.Timestamp {
					t.Fatalf("a point of %v in a snapshot of %v", p.Timestamp, s.Timestamp)
				}
			}
			if n := testutil.ToFloat64(e.metrics.setBack); n != 1 {
				t.Errorf("set back %v times, want once", n)
			}
			fresh := testEngine(t)
			for _, tx := range txs {
				if tx != first[100] {
					fresh.apply(seen(tx, start))
				}
			}
			if want := decode(t, fresh.tick(start)).Stats.ActiveInWindow; s.Stats.ActiveInWindow != want {
				t.Errorf("%d active, want %d", s.Stats.ActiveInWindow, want)
			}
			if s := decode(t, e.tick(now.Add(windowSpan+2*time.Minute))); s.Stats.ActiveInWindow != 0 {
				t.Errorf("%d are active a window later, want none", s.Stats.ActiveInWindow)
			}
		})
	}
}

// TestEngine_ClockSetForward: a clock that was hours behind leaves nothing of times that never were, and takes in what
// comes.
func TestEngine_ClockSetForward(t *testing.T) {
	txs := block(t)
	e := testEngine(t)
	for _, tx := range txs[:1500] {
		e.apply(seen(tx, start))
	}
	e.tick(start)
	now := start.Add(5 * time.Hour)
	e.apply(seen(txs[1500], now)) // before the first tick by the right clock
	e.tick(now)
	for _, tx := range txs[1501:] {
		e.apply(seen(tx, now))
	}
	s := decode(t, e.tick(now.Add(time.Second)))
	if s.Status != contract.Live || math.Abs(s.Price/testblock.Price574200-1) > 0.01 {
		t.Errorf("%s, price %v, want live and within 1 %% of 5313.57", s.Status, s.Price)
	}
}

// fill gives an engine n transactions, each with a txid of its own, spread over the 3 h before end.
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

// TestEngine_BytesPerTransaction: what is kept of a transaction, with everything that is there only once spread over 100,000.
func TestEngine_BytesPerTransaction(t *testing.T) {
	const n = 100_000
	before := heap()
	e := testEngine(t)
	e.tick(fill(t, e, n))
	if each := (heap() - before) / n; each > 300 {
		t.Errorf("%d bytes for each transaction", each)
	} else {
		t.Logf("%d bytes for each of %d transactions", each, n)
	}
	runtime.KeepAlive(e)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkTick is a tick with 100,000 transactions in the window, some of them new.
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

// BenchmarkTransaction is a transaction's whole way from the bytes that a node sends: parse, txid, filter, window,
// evidence, points. They come at 10,000 a second of the engine's time, with a tick every 500 ms.
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
