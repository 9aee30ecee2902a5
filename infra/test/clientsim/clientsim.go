// Package clientsim simulates many clients of the delta protocol, such as dashboards. They reconnect, and measure gaps and
// order of the snapshots that they receive.
package clientsim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sightglass/infra/fanout"
	"sightglass/shared/contract"
)

// Options are the settings of Start.
type Options struct {
	URL          string // of the stream, such as ws://127.0.0.1:8080/ws/mempool
	Clients      int
	PerAddress   int // clients per source address; 0: 3, of which edges still accept all while those of two dead edges count
	FirstAddress int // index of the first source address for fanout.SourceAddress; groups of clients must not overlap
	PerSecond    int // rate at which clients connect initially; 0: 200
}

// Clients are simulated clients that follow a stream until Stop.
type Clients struct {
	clients []*simulatedClient
	stop    context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	ends map[string]int // ended connections and attempts to connect, by reason
}

// Start starts to connect the clients one after another, and returns immediately.
func Start(o Options) *Clients {
	if o.PerAddress == 0 {
		o.PerAddress = 3
	}
	if o.PerSecond == 0 {
		o.PerSecond = 200
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Clients{stop: stop, ends: make(map[string]int)}
	for i := range o.Clients {
		client := newSimulatedClient(o.URL, fanout.SourceAddress(o.FirstAddress+i/o.PerAddress), c.countEnd)
		c.clients = append(c.clients, client)
		c.running.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(i) * time.Second / time.Duration(o.PerSecond)):
				client.run(ctx)
			}
		})
	}
	return c
}

// Stop disconnects all clients, and returns when all goroutines have ended.
func (c *Clients) Stop() {
	c.stop()
	c.running.Wait()
}

func (c *Clients) countEnd(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends[reason]++
}

// Seen is the measurements of one client.
type Seen struct {
	Connected  bool // has received a snapshot on the current connection
	Epoch      contract.Epoch
	Seq        uint64        // of the last snapshot received
	Older      int           // snapshots received that were older, by epoch and seq, than the newest before
	Disordered int           // snapshots that shared/client delivered out of order within their epoch
	Reconnects int           // connections with at least one snapshot, without the first connection
	Gap        time.Duration // longest time from the loss of a connection to the first snapshot of the next one, or until now
	Silence    time.Duration // longest time from a snapshot to a newer one, or until now
	GivenUp    bool          // an edge closed the connection with a code that forbids reconnecting
}

// Seen returns the measurements of each client, in the order in which they connected.
func (c *Clients) Seen() []Seen {
	seen := make([]Seen, len(c.clients))
	for i, client := range c.clients {
		seen[i] = client.current()
	}
	return seen
}

// A Summary combines the measurements of all clients.
type Summary struct {
	Clients, Connected, GivenUp, Older, Disordered, Reconnects int
	Gap, Silence                                               time.Duration  // maximum of all clients
	Ends                                                       map[string]int // ended connections and attempts to connect, by reason
}

// Summary returns the combined measurements of all clients.
func (c *Clients) Summary() Summary {
	s := Summary{Clients: len(c.clients)}
	for _, seen := range c.Seen() {
		if seen.Connected {
			s.Connected++
		}
		if seen.GivenUp {
			s.GivenUp++
		}
		s.Older += seen.Older
		s.Disordered += seen.Disordered
		s.Reconnects += seen.Reconnects
		s.Gap, s.Silence = max(s.Gap, seen.Gap), max(s.Silence, seen.Silence)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Ends = maps.Clone(c.ends)
	return s
}

// String returns the summary as one line.
func (s Summary) String() string {
	var ends []string
	for _, reason := range slices.Sorted(maps.Keys(s.Ends)) {
		ends = append(ends, fmt.Sprintf("%d %s", s.Ends[reason], reason))
	}
	return fmt.Sprintf("%d of %d clients connected, %d reconnects, longest gap %v, longest silence %v, %d older snapshots, %d out of order, %d gave up; ends: %s",
		s.Connected, s.Clients, s.Reconnects, s.Gap.Round(time.Millisecond), s.Silence.Round(time.Millisecond), s.Older, s.Disordered, s.GivenUp,
		strings.Join(ends, ", "))
}

// CaughtUp returns the number of clients that are connected and have received this snapshot or a newer one.
func (c *Clients) CaughtUp(with *contract.Snapshot) (n int) {
	for _, seen := range c.Seen() {
		has := &contract.Snapshot{Epoch: seen.Epoch, Seq: seen.Seq}
		if seen.Connected && !with.NewerThan(has) {
			n++
		}
	}
	return n
}
