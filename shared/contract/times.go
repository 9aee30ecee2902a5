package contract

import "time"

// The intervals and timeouts of the contract. They are not settings: an ingester with another interval would make the
// clients of all edges alternate between live and stale, and one with another window would count other transactions
// than those behind its price. All related times of both daemons are derived from these.
const (
	// Interval is the time between two snapshots.
	Interval = 500 * time.Millisecond

	// Window is how long a transaction is evidence.
	Window = 3 * time.Hour

	// StaleAfter is the time without a newer snapshot after which an edge marks the last one as Stale: longer than a delay
	// of the network, shorter than anyone should rely on an old price.
	StaleAfter = 6 * Interval

	// ReadyWithin is the time without a snapshot received (edge) or published (ingester) after which /readyz responds with
	// 503. It is longer than StaleAfter, so that a change of the leader (Lease, and at most two intervals) does not take
	// edges out of their load balancer.
	ReadyWithin = 10 * Interval

	// Lease is how long an ingester remains the leader without publishing. Then Redis accepts the snapshots of another
	// ingester.
	Lease = 3 * Interval

	// StepBackAfter is how long an edge receives only snapshots of a lower epoch before it accepts them: Redis has then
	// lost the higher epoch, and no ingester publishes under it. It is longer than StaleAfter, so that clients see the old
	// price marked as stale; longer than Lease; and longer than the 5 s that a live ingester of the higher epoch needs to
	// learn that Redis rejects it and to claim a higher one: two calls of at most 2 s each, and two intervals.
	StepBackAfter = 20 * Interval
)
