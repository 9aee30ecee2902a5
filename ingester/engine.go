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
	"sightglass/ingester/publish"
	"sightglass/ingester/window"
	"sightglass/shared/contract"
)

// engine turns events into snapshots. It has no clock and no I/O, and is for one goroutine.
type engine struct {
	window  *window.Window
	price   *price.Engine
	points  *points.Points
	metrics *engineMetrics

	started  time.Time
	clock    time.Time // wall clock of the last tick, without monotonic time
	newest   float64   // when the newest transaction with a payment was seen, unix seconds
	ticks    uint64
	shownAt  time.Time      // when the last evidence was made; zero before the first
	shown    price.Estimate // the estimate that it belongs to
	received uint64
	filtered uint64
	amounts  []payment.Satoshi // of the current transaction; reused

	// Transactions that a token's transaction spends, and that are still to come: a backfill has no order.
	funding map[chainhash.Hash]struct{}
}

// maxFunding bounds engine.funding, to about 8 MB. When they are dropped, some tokens' amounts count as payments.
const maxFunding = 100_000

func newEngine(o Options, p *price.Engine, now time.Time, reg prometheus.Registerer) *engine {
	return &engine{
		window:  window.New(contract.Window, o.MaxTransactions),
		price:   p,
		points:  points.New(),
		metrics: newEngineMetrics(reg),
		funding: make(map[chainhash.Hash]struct{}),
		started: now,
		clock:   now.Round(0),
	}
}

// apply applies an event of the node.
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
	if _, funds := e.funding[ev.ID]; funds {
		delete(e.funding, ev.ID)
		e.amounts, why = e.amounts[:0], payment.Token
	}
	at := ev.At
	if at.Sub(e.clock) > clockTolerance {
		at = e.clock // the clock was set back since, or will be; with a correct clock it expires early
	}
	if !e.window.Add(ev.ID, at, e.amounts) {
		e.metrics.repeated.Inc()
		return
	}
	e.received++
	e.metrics.received.Inc()
	if payment.IsToken(ev.Tx) {
		for _, in := range ev.Tx.TxIn {
			e.fundsToken(in.PreviousOutPoint.Hash)
		}
	}
	if why != payment.Kept {
		e.filtered++
		e.metrics.filtered.WithLabelValues(why.String()).Inc()
		return
	}
	e.keep(ev.ID, at, e.amounts)
}

// fundsToken removes the payments of a transaction that a token's transaction spends.
func (e *engine) fundsToken(id chainhash.Hash) {
	at, amounts, ok := e.window.Remove(id)
	if !ok {
		if len(e.funding) >= maxFunding {
			clear(e.funding)
		}
		e.funding[id] = struct{}{}
		return
	}
	if len(amounts) > 0 {
		e.price.Remove(at, amounts)
		e.points.Remove(id)
		e.filtered++
		e.metrics.filtered.WithLabelValues(payment.Token.String()).Inc()
	}
	e.window.Add(id, at, nil) // it stays known
}

// keep adds a transaction of the window to the evidence.
func (e *engine) keep(id chainhash.Hash, at time.Time, amounts []payment.Satoshi) {
	e.newest = max(e.newest, points.Seconds(at))
	e.price.Add(at, amounts)
	e.points.Add(id, at, amounts)
}

// clockTolerance is the largest step back of the machine's clock, and the largest lead of an event over it, that is
// ignored: it moves no transaction by more than the price's own step, a minute.
const clockTolerance = time.Minute

// followClock detects that the clock was set back. The window and the price never go back in time, so all new
// transactions would be too old for them until the clock has caught up, maybe hours later. Both are therefore rebuilt
// from the transactions in the window. Those with future times were seen by the wrong clock and count as seen now. The
// belief from before the window is dropped: it is of other hours.
func (e *engine) followClock(now time.Time) (setBack bool) {
	now = now.Round(0) // strips the monotonic time, which never goes back
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

// statusOf returns an estimate's status as in snapshots.
func statusOf(s price.Status) contract.Status {
	switch s {
	case price.Live:
		return contract.Live
	case price.Contested:
		return contract.Contested
	default:
		return contract.Warming
	}
}

// pointsEvery is the number of ticks between two lists of point amounts. Few clients request them, and only for a point
// that was on display for over a second.
const pointsEvery = 2

// How often the evidence is made. It takes 2 ms, and histograms of hours change little in a minute. When the price moves,
// and in the first minutes, they are soon made again, but at most every evidenceSooner: a contested price may alternate.
const (
	evidenceEvery  = time.Minute
	evidenceSooner = 10 * time.Second
	evidenceMove   = 0.01 // of the last one's price
	evidenceGrowth = 1.5  // of the last one's outputs
)

// evidence returns the evidence for an estimate if it is due, else nil.
func (e *engine) evidence(est price.Estimate, now time.Time) *contract.Evidence {
	age := now.Sub(e.shownAt).Abs() // absolute, in case that the clock is set back
	moved := math.Abs(float64(est.Price-e.shown.Price)) > evidenceMove*float64(e.shown.Price)
	grown := float64(est.Outputs) > evidenceGrowth*float64(e.shown.Outputs)
	if est.Price == 0 || age < evidenceSooner || age < evidenceEvery && !moved && !grown {
		return nil
	}
	e.shownAt, e.shown = now, est
	return e.price.Evidence(now)
}

// tick returns the next snapshot, with the point amounts and the evidence if they are due.
func (e *engine) tick(now time.Time) *publish.Tick {
	began := time.Now()
	if e.followClock(now) {
		e.metrics.setBack.Inc()
	}
	e.window.Expire(now)
	est := e.price.Estimate(now)
	e.points.SetEstimate(est.Price)

	t := &publish.Tick{Snapshot: contract.Snapshot{
		Timestamp:    points.Seconds(now),
		Price:        est.Price.Cents(),
		Low:          est.Low.Cents(),
		High:         est.High.Cents(),
		Confidence:   math.Round(est.Confidence*1000) / 1000,
		Status:       statusOf(est.Status),
		Transactions: e.points.AppendTo(nil),
		Stats: contract.Stats{
			TotalReceived:  e.received,
			TotalFiltered:  e.filtered,
			ActiveInWindow: uint64(e.window.Active()),
			UptimeSeconds:  uint64(now.Sub(e.started).Seconds()),
		},
	}}
	if e.ticks++; e.ticks%pointsEvery == 0 {
		t.Points = e.points.AppendAmounts([]contract.PointAmount{}) // an empty list, not nil
	}
	t.Evidence = e.evidence(est, now)
	e.metrics.observe(&t.Snapshot, time.Since(began))
	e.metrics.outputs.Set(float64(est.Outputs))
	e.metrics.newest.Set(e.newest)
	e.metrics.age.Set(e.price.MeanAge(now).Seconds())
	return t
}
