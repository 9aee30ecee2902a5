package fanout

import (
	"bytes"
	"sync"
	"time"
)

// A Tally knows when each snapshot was sent and takes note of each arrival. One goroutine sends, another receives.
type Tally struct {
	mu      sync.Mutex
	rounds  map[int64]*round // by the snapshot's timestamp
	latency Histogram
	untimed uint64 // messages of which nobody knows which snapshot they are
}

// A round is one snapshot on its way to all clients. Times are in unix nanoseconds.
type round struct {
	sent, first, last int64
	arrivals          int
}

// NewTally makes a tally that knows of no snapshot.
func NewTally() *Tally { return &Tally{rounds: make(map[int64]*round)} }

// Sent counts on the arrivals of the snapshot with this timestamp, in unix milliseconds. Those of others are ignored.
func (t *Tally) Sent(timestamp int64, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rounds[timestamp] = &round{sent: at.UnixNano()}
}

func (t *Tally) arrived(timestamp, at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rounds[timestamp]
	if r == nil {
		return
	}
	if r.arrivals == 0 {
		r.first = at
	}
	r.arrivals++
	r.last = at
	t.latency.Add(time.Duration(at - r.sent))
}

func (t *Tally) unknown() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.untimed++
}

// complete reports whether each snapshot has reached so many clients.
func (t *Tally) complete(clients int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rounds {
		if r.arrivals < clients {
			return false
		}
	}
	return true
}

// Arrivals are a tally's result.
type Arrivals struct {
	Latency   Histogram // from the sending of a snapshot to the arrival of its last byte at a client
	Spread    Histogram // from the first client to the last, of each snapshot
	Delivered float64   // share of what should have arrived
	Untimed   uint64    // messages that could not be told to be any snapshot
}

// Take gives what has arrived at so many clients since the last Take.
func (t *Tally) Take(clients int) *Arrivals {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &Arrivals{Latency: t.latency, Untimed: t.untimed}
	for _, r := range t.rounds {
		a.Spread.Add(time.Duration(r.last - r.first))
	}
	if due := len(t.rounds) * clients; due > 0 {
		a.Delivered = float64(t.latency.Count()) / float64(due)
	}
	t.rounds, t.latency, t.untimed = make(map[int64]*round), Histogram{}, 0
	return a
}

var timestampKey = []byte(`"timestamp":`)

// timestampOf finds a snapshot's time, in unix milliseconds, in the end of its message. The times of its points come
// before it (or have no key, in a delta), so it is the last.
func timestampOf(tail []byte) (ms int64, ok bool) {
	i := bytes.LastIndex(tail, timestampKey)
	if i < 0 {
		return 0, false
	}
	return parseSeconds(tail[i+len(timestampKey):])
}

// parseSeconds reads a number with three decimals as one of milliseconds.
func parseSeconds(b []byte) (ms int64, ok bool) {
	const decimals, mostDigits = 3, 16
	point := -1
	for i, c := range b[:min(len(b), mostDigits)] {
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
