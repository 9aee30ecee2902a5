package fanout

import (
	"bytes"
	"sync"
	"time"
)

// Deliveries records when each snapshot was sent and when clients received it. It is safe for concurrent use.
type Deliveries struct {
	mu      sync.Mutex
	pending map[int64]*delivery // by the snapshot's timestamp in Unix milliseconds
	latency Histogram
	untimed uint64 // messages whose snapshot is unknown
}

// A delivery is one snapshot's transmission to all clients. Times are in Unix nanoseconds.
type delivery struct {
	sent, first, last int64
	received          int // clients that have received it
}

// NewDeliveries returns an empty record.
func NewDeliveries() *Deliveries { return &Deliveries{pending: make(map[int64]*delivery)} }

// Sent starts recording the snapshot with this timestamp, in Unix milliseconds. Messages of other snapshots are ignored.
func (d *Deliveries) Sent(timestamp int64, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending[timestamp] = &delivery{sent: at.UnixNano()}
}

// received records that a client received a snapshot. timestamp is in Unix milliseconds, at in Unix nanoseconds.
func (d *Deliveries) received(timestamp, at int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pending[timestamp]
	if p == nil {
		return
	}
	if p.received == 0 {
		p.first = at
	}
	p.received++
	p.last = at
	d.latency.Add(time.Duration(at - p.sent))
}

func (d *Deliveries) countUntimed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.untimed++
}

// complete reports whether at least this many clients have received each snapshot.
func (d *Deliveries) complete(clients int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.pending {
		if p.received < clients {
			return false
		}
	}
	return true
}

// DeliveryStats summarizes deliveries.
type DeliveryStats struct {
	Latency   Histogram // from sending a snapshot to the arrival of its last byte at a client
	Spread    Histogram // from the first client to the last, for each snapshot
	Delivered float64   // deliveries divided by snapshots times clients
	Untimed   uint64    // messages whose snapshot is unknown
}

// Collect returns the statistics of all deliveries to this many clients since the last call, and clears the record.
func (d *Deliveries) Collect(clients int) *DeliveryStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	stats := &DeliveryStats{Latency: d.latency, Untimed: d.untimed}
	for _, p := range d.pending {
		stats.Spread.Add(time.Duration(p.last - p.first))
	}
	if expected := len(d.pending) * clients; expected > 0 {
		stats.Delivered = float64(d.latency.Count()) / float64(expected)
	}
	d.pending, d.latency, d.untimed = make(map[int64]*delivery), Histogram{}, 0
	return stats
}

var timestampKey = []byte(`"timestamp":`)

// parseTimestamp returns the snapshot's timestamp, in Unix milliseconds, from the end of its message. It is the last
// timestamp there: those of points precede it, or have no key in a delta.
func parseTimestamp(tail []byte) (ms int64, ok bool) {
	i := bytes.LastIndex(tail, timestampKey)
	if i < 0 {
		return 0, false
	}
	return parseSeconds(tail[i+len(timestampKey):])
}

// parseSeconds parses a decimal number of seconds with exactly three decimals and returns milliseconds.
func parseSeconds(b []byte) (ms int64, ok bool) {
	const decimals, maxDigits = 3, 16
	point := -1
	for i, c := range b[:min(len(b), maxDigits)] {
		switch {
		case c >= '0' && c <= '9':
			ms = ms*10 + int64(c-'0')
		case c == '.' && point < 0 && i > 0:
			point = i
		default:
			return ms, point > 0 && i-point-1 == decimals
		}
	}
	return 0, false
}
