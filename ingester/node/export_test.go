package node

import (
	"context"
	"time"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/zmqsub"
)

// HandleClockStep does what a tick does after a step of the machine's clock.
func (n *Node) HandleClockStep(step time.Duration) {
	n.calls <- func(t *tracker, now time.Time) { t.handleClockStep(step, now) }
}

// Tracker is a tracker that a test drives step by step.
type Tracker struct{ *tracker }

// NewTracker starts a tracker.
func NewTracker(o Options, metrics *Metrics, now time.Time) Tracker {
	t := newTracker(o, metrics)
	t.start(now)
	return Tracker{t}
}

func (t Tracker) Handle(m zmqsub.Message) { t.handle(m) }

func (t Tracker) Tick(now time.Time) { t.tick(now) }

// Work starts requests, and delivers fetched transactions.
func (t Tracker) Work(now time.Time) {
	t.startRequests(now)
	t.deliverBacklog(now)
}

// Fetch is a request that was not sent, and Apply a response that was not applied.
type (
	Fetch func() Apply
	Apply func(now time.Time)
)

// Output returns the tracker's output.
func (t Tracker) Output(rpc *bitcoind.Client) (events []Event, requests []Fetch, reconnect bool) {
	out := t.out
	t.out = output{}
	for _, r := range out.requests {
		requests = append(requests, func() Apply {
			apply := r.fetch(context.Background(), rpc)
			return func(now time.Time) { apply(t.tracker, now) }
		})
	}
	return out.events, requests, out.reconnect
}

func (t Tracker) View() View { return t.view() }

// Unsettled says what is left to do; empty if nothing is, and the mempool is in sync.
func (t Tracker) Unsettled() (left string) {
	for what, is := range map[string]bool{
		"out of sync": !t.sync.inSync, "a list": !t.sync.due.IsZero() || t.sync.fetching, "a backfill": !t.backfill.idle(),
		"a walk": t.chain.walk != nil, "a block": len(t.chain.changes) > 0, "vanished transactions": len(t.chain.vanished) > 0,
		"orphans": len(t.chain.orphans) > 0,
	} {
		if is {
			left += what + "; "
		}
	}
	return left
}
