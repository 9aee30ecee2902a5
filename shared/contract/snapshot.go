// Package contract is what the ingester, the edges and all readers of the price agree on: snapshots and their deltas, the
// history, the points' amounts, each with its one encoding, the keys in Redis, and the times. The same bytes go through
// Redis and to every client.
package contract

// MaxTransactions bounds Snapshot.Transactions: a promise to clients, who size their buffers by it.
const MaxTransactions = 1000

// Status tells how far a snapshot's price can be believed.
type Status string

// The states of a snapshot. An ingester says Warming or Live; an edge that hears nothing new says Stale.
const (
	Warming Status = "warming" // too little evidence for a price that is more likely right than wrong
	Live    Status = "live"
	Stale   Status = "stale" // nothing new for StaleAfter; everything else in the snapshot is as it last was
)

// A Snapshot is what the ingester knew at one tick.
type Snapshot struct {
	Price        float64 // estimate in USD per bitcoin, 2 decimals; 0 while there is none
	Confidence   float64 // probability, 0 to 1, that the true price is within 1 % of Price, 3 decimals
	Transactions []Point // the newest implied prices, oldest first, at most MaxTransactions
	Stats        Stats
	Timestamp    float64 // when it was computed, unix seconds, 3 decimals
	Low, High    float64 // 90 % credible interval in USD, 2 decimals; 0 while there is no price
	Status       Status
	Seq          uint64 // rises by one per snapshot within an Epoch, from 1
	Epoch        Epoch
}

// A Point is one payment near a round dollar amount and the price that it implies.
type Point struct {
	Timestamp float64 `json:"timestamp"` // when the transaction was seen, unix seconds, 3 decimals
	Price     float64 `json:"price"`     // USD per bitcoin, 2 decimals
}

// Stats counts transactions. A transaction counts once, however often the node tells of it.
type Stats struct {
	TotalReceived  uint64 `json:"total_received"`   // seen since the ingester started
	TotalFiltered  uint64 `json:"total_filtered"`   // of these, the ones that hold no payment
	ActiveInWindow uint64 `json:"active_in_window"` // with payments, seen within Window, not replaced since
	UptimeSeconds  uint64 `json:"uptime_seconds"`   // of the ingester
}

// NewerThan reports whether s replaces old. A later epoch always does, whatever its seq; a nil old always is replaced.
func (s *Snapshot) NewerThan(old *Snapshot) bool {
	switch {
	case old == nil:
		return true
	case s.Epoch == old.Epoch:
		return s.Seq > old.Seq
	default:
		return s.Epoch.After(old.Epoch)
	}
}
