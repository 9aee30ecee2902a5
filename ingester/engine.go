package ingester

import (
	"math"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/ingester/node"
	"sightglass/ingester/payment"
	"sightglass/ingester/points"
	"sightglass/ingester/price"
	"sightglass/ingester/window"
	"sightglass/shared/rounds"
	"sightglass/shared/snapshot"
)

// engine turns events into snapshots. It has no clock and no I/O of its own, and is for one goroutine.
type engine struct {
	window  *window.Window
	price   *price.Engine
	points  *points.Cloud
	metrics *engineMetrics

	started  time.Time
	clock    time.Time         // the last tick's, without monotonic time: what the machine's clock showed
	newest   float64           // when the newest transaction with a payment was seen, unix seconds
	snapshot snapshot.Snapshot // of the last tick; its points' room is used again
	received uint64
	filtered uint64
	amounts  []payment.Satoshi // of the transaction at hand
	encoded  []byte
	rounds   []rounds.Point // of the snapshot's points; room that is used again
	amounted []byte         // their encoding
}

func newEngine(o Options, p *price.Engine, now time.Time, reg prometheus.Registerer) *engine {
	return &engine{
		window:  window.New(snapshot.Window, o.MaxTransactions),
		price:   p,
		points:  points.New(),
		metrics: newEngineMetrics(reg),
		started: now,
		clock:   now.Round(0),
	}
}

// reign tells whose snapshots the next ones are: a new epoch begins with seq 1. An empty one is that of an ingester
// that stands by, whose snapshots nobody gets.
func (e *engine) reign(epoch snapshot.Epoch) {
	if e.snapshot.Epoch != epoch {
		e.snapshot.Epoch, e.snapshot.Seq = epoch, 0
	}
}

// apply takes in what the node told.
func (e *engine) apply(ev node.Event) {
	switch ev.Kind {
	case node.Seen:
		e.seen(ev)
	case node.Gone:
		if at, amounts, ok := e.window.Remove(ev.ID); ok {
			e.metrics.gone.Inc()
			e.price.Remove(at, amounts)
			e.points.Remove(ev.ID)
		}
	}
	if !ev.Received.IsZero() {
		e.metrics.lag.Observe(time.Since(ev.Received).Seconds())
	}
}

func (e *engine) seen(ev node.Event) {
	var why payment.Reason
	e.amounts, why = payment.Append(e.amounts[:0], ev.Tx)
	at := ev.At
	if at.Sub(e.clock) > clockTolerance {
		at = e.clock // it was seen by a clock that has been set back since, or will be; by a right one it expires early
	}
	if !e.window.Add(ev.ID, at, e.amounts) {
		e.metrics.repeated.Inc()
		return
	}
	e.received++
	e.metrics.received.Inc()
	if why != payment.Kept {
		e.filtered++
		e.metrics.filtered.WithLabelValues(why.String()).Inc()
		return
	}
	e.keep(ev.ID, at, e.amounts)
}

// keep makes a transaction of the window evidence.
func (e *engine) keep(id chainhash.Hash, at time.Time, amounts []payment.Satoshi) {
	e.newest = max(e.newest, points.Seconds(at))
	e.price.Add(at, amounts)
	e.points.Add(id, at, amounts)
}

// clockTolerance is how far the machine's clock may go back, or an event be ahead of it, without notice: it moves no
// transaction by more than the price's own step, a minute.
const clockTolerance = time.Minute

// followClock notices that the clock was set back. The window and the price never let time go back, so all that comes
// would be too old for them until the clock is where it was, hours later maybe. So they begin again with the transactions
// that they hold; those of times that are now to come were seen by the wrong clock, and count as seen now. What the price
// knew beyond them is lost: it is of the wrong hours.
func (e *engine) followClock(now time.Time) (setBack bool) {
	now = now.Round(0) // the monotonic time, if it has one, never goes back
	before := e.clock
	e.clock = now
	if before.Sub(now) <= clockTolerance {
		return false
	}
	old := e.window
	e.window, e.points, e.newest = old.Empty(), points.New(), 0
	e.price.Reset()
	for id, held := range old.All() {
		at := held.At
		if at.After(now) {
			at = now
		}
		if e.window.Add(id, at, held.Amounts) && len(held.Amounts) > 0 {
			e.keep(id, at, held.Amounts)
		}
	}
	return true
}

// tick computes the next snapshot and gives its encoding, valid until the next tick.
func (e *engine) tick(now time.Time) []byte {
	began := time.Now()
	if e.followClock(now) {
		e.metrics.setBack.Inc()
	}
	e.window.Expire(now)
	est := e.price.Estimate(now)
	e.points.Near(est.Price)

	s := &e.snapshot
	s.Seq++
	s.Timestamp = points.Seconds(now)
	s.Price, s.Low, s.High = est.Price.Cents(), est.Low.Cents(), est.High.Cents()
	s.Confidence = math.Round(est.Confidence*1000) / 1000
	s.Status = snapshot.Warming
	if est.Status == price.Live {
		s.Status = snapshot.Live
	}
	s.Transactions = e.points.AppendTo(s.Transactions[:0])
	s.Stats = snapshot.Stats{
		TotalReceived:  e.received,
		TotalFiltered:  e.filtered,
		ActiveInWindow: uint64(e.window.Active()),
		UptimeSeconds:  uint64(now.Sub(e.started).Seconds()),
	}
	e.encoded = s.AppendJSON(e.encoded[:0])
	e.metrics.observe(s, time.Since(began))
	e.metrics.outputs.Set(float64(est.Outputs))
	e.metrics.newest.Set(e.newest)
	e.metrics.age.Set(e.price.MeanAge(now).Seconds())
	return e.encoded
}

// amountsEvery is how many ticks share one telling of the points' amounts: it is asked for now and then, and by a reader who
// has pointed at something for longer than a second.
const amountsEvery = 2

// pointsWithAmounts gives the last tick's points with their round amounts, as package rounds encodes them, valid until the
// next call; nil if it is not time to tell them.
func (e *engine) pointsWithAmounts() []byte {
	if e.snapshot.Seq%amountsEvery != 0 {
		return nil
	}
	e.rounds = e.points.AppendRounds(e.rounds[:0])
	e.amounted = rounds.AppendJSON(e.amounted[:0], e.rounds)
	return e.amounted
}
