package contract

import "time"

// The times of the contract. They are no settings: an ingester with another interval would make each edge's clients
// change between live and stale, and one with another window would count other transactions than its price is made of.
// Every other time that depends on them, in either daemon, is derived from them.
const (
	// Interval is the time between two snapshots.
	Interval = 500 * time.Millisecond

	// Window is how long a transaction counts.
	Window = 3 * time.Hour

	// StaleAfter is how long nothing newer may come before an edge marks the last snapshot as Stale: more than a delay
	// on the way, less than anyone should trust an old price for.
	StaleAfter = 6 * Interval

	// ReadyWithin is how long no snapshot may come to an edge, or be taken from an ingester, before /readyz answers 503.
	// It is longer than StaleAfter, so that a change of the leader (Lease, and at most two intervals) takes no edge out
	// of its balancer.
	ReadyWithin = 10 * Interval

	// Lease is how long the ingester that publishes remains the leader without publishing. Redis accepts another one's
	// snapshots after it.
	Lease = 3 * Interval

	// StepBackAfter is how long an edge hears snapshots of a lower epoch alone before it shows them: Redis has lost the
	// higher epoch then, and nobody who knows that epoch is left. It is longer than StaleAfter, so that clients know the
	// old price for an old one, than Lease, and than the 5 s in which the ingester of the higher epoch, if it is alive,
	// finds that Redis refuses it and claims an epoch higher still: two questions of 2 s at most, and two intervals.
	StepBackAfter = 20 * Interval
)
