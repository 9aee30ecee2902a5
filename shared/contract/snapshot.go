// Package contract defines what ingesters, edges and clients share: snapshots and deltas, the history, the point
// amounts, the evidence, each with its JSON; the keys in Redis; and the intervals and timeouts. Redis and all clients get the same
// bytes.
package contract

// MaxTransactions bounds Snapshot.Transactions. It is a promise to clients, which size their buffers by it.
const MaxTransactions = 1000

// Status says how far a snapshot's price can be relied on.
type Status string

// The values of Status. An ingester sets Warming, Live or Contested; an edge without newer snapshots sets Stale. A later
// version may add values: a reader treats one that it does not know as Live, and a relay passes it on.
const (
	Warming Status = "warming" // the price is more likely wrong than right; 0 while none is established
	Live    Status = "live"
	// Contested: beside the ladder of round amounts at the price there is a second one, about as strong. Somebody pays
	// round amounts at another price, or the market is splitting. Price is the best one still, with a lower Confidence;
	// Low and High may span both.
	Contested Status = "contested"
	Stale     Status = "stale" // no newer snapshot for StaleAfter; all other fields are unchanged
)

// maxStatus is the longest possible status, in bytes.
const maxStatus = 32

// wellFormed reports whether the status is one word of lower-case letters, as known and future ones are. It is safe
// in JSON without escapes.
func (s Status) wellFormed() bool {
	if s == "" || len(s) > maxStatus {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return true
}

// SureConfidence is the confidence from which a price is shown as a fact. An ingester's first price has at
// least that, unless it is contested; pages and pictures mark one below it as uncertain. The engine's coldConfidence says
// what it was chosen by.
const SureConfidence = 0.75

// A Snapshot is the state of an ingester at one tick.
type Snapshot struct {
	Price        float64 // estimate in USD per bitcoin, 2 decimals; 0 while there is none, only with Warming or Stale
	Confidence   float64 // probability, 0 to 1, that the true price is within 1 % of Price, 3 decimals
	Transactions []Point // the newest implied prices, oldest first, at most MaxTransactions
	Stats        Stats
	Timestamp    float64 // when it was computed, unix seconds, 3 decimals
	Low, High    float64 // 90 % credible interval in USD, 2 decimals; 0 while there is no price
	Status       Status
	Seq          uint64 // rises by one per snapshot within an Epoch, from 1
	Epoch        Epoch
}

// A Point is one payment near a round dollar amount, with the price that it implies.
type Point struct {
	Timestamp float64 `json:"timestamp"` // when the transaction was seen, unix seconds, 3 decimals
	Price     float64 `json:"price"`     // USD per bitcoin, 2 decimals
}

// Stats counts transactions. Each counts once, however often the node reports it.
type Stats struct {
	TotalReceived  uint64 `json:"total_received"`   // seen since the ingester started
	TotalFiltered  uint64 `json:"total_filtered"`   // of these, transactions without a payment
	ActiveInWindow uint64 `json:"active_in_window"` // with payments, seen within Window, not replaced since
	UptimeSeconds  uint64 `json:"uptime_seconds"`   // of the ingester

	// The peers that the transactions come from, and how many there should be. Absent, and 0, with a node of one's own.
	Peers       uint64 `json:"peers,omitempty"`
	PeersWanted uint64 `json:"peers_wanted,omitempty"`
}

// NewerThan reports whether s replaces old: it has a higher epoch, or a higher seq in the same epoch, or old is nil.
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
