// Package clientsim simulates many people with the dashboard open: clients of the delta protocol that reconnect, and
// measure what they are sent.
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

// Options say how many clients connect, and from where.
type Options struct {
	URL          string // of the stream, such as ws://127.0.0.1:8080/ws/mempool
	Clients      int
	PerAddress   int // clients that share a source address; 0: 3, so that all are let in while those on two dead edges still count
	FirstAddress int // the first source address, see fanout.SourceAddress; clients started apart need others
	PerSecond    int // clients that connect in a second at the start; 0: 200
}

// Clients follow a stream until Stop.
type Clients struct {
	all     []*simulated
	stop    context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	ends map[string]int
}

// Start connects the clients, one after another, and does not wait for them.
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
		one := newSimulated(o.URL, fanout.SourceAddress(o.FirstAddress+i/o.PerAddress), c.ended)
		c.all = append(c.all, one)
		c.running.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(i) * time.Second / time.Duration(o.PerSecond)):
				one.run(ctx)
			}
		})
	}
	return c
}

// Stop disconnects all clients, and returns when that is done.
func (c *Clients) Stop() {
	c.stop()
	c.running.Wait()
}

func (c *Clients) ended(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends[reason]++
}

// Seen is what one client has measured.
type Seen struct {
	Connected  bool // has received a snapshot by its present connection
	Epoch      contract.Epoch
	Seq        uint64        // of the last snapshot received
	Older      int           // snapshots received that were older than one before, by epoch and seq
	Disordered int           // snapshots that shared/client delivered against the order of their epoch
	Reconnects int           // connections that brought a snapshot, without the first
	Gap        time.Duration // longest time from the loss of a connection to the first snapshot of another; also of a loss that lasts
	Silence    time.Duration // longest time from a snapshot to a newer one, whatever happened in between; also of a silence that lasts
	GivenUp    bool          // an edge asked it not to reconnect
}

// Seen returns what each client has measured, in the order in which they connected.
func (c *Clients) Seen() []Seen {
	all := make([]Seen, len(c.all))
	for i, one := range c.all {
		all[i] = one.now()
	}
	return all
}

// A Summary is what all clients have measured together.
type Summary struct {
	Clients, Connected, GivenUp, Older, Disordered, Reconnects int
	Gap, Silence                                               time.Duration  // the longest of any client
	Ends                                                       map[string]int // how often connections, and attempts at one, ended, by reason
}

// Summary sums up what all clients have measured.
func (c *Clients) Summary() Summary {
	s := Summary{Clients: len(c.all)}
	for _, one := range c.Seen() {
		if one.Connected {
			s.Connected++
		}
		if one.GivenUp {
			s.GivenUp++
		}
		s.Older += one.Older
		s.Disordered += one.Disordered
		s.Reconnects += one.Reconnects
		s.Gap, s.Silence = max(s.Gap, one.Gap), max(s.Silence, one.Silence)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Ends = maps.Clone(c.ends)
	return s
}

func (s Summary) String() string {
	var ends []string
	for _, reason := range slices.Sorted(maps.Keys(s.Ends)) {
		ends = append(ends, fmt.Sprintf("%d %s", s.Ends[reason], reason))
	}
	return fmt.Sprintf("%d of %d clients connected, %d reconnects, longest gap %v, longest silence %v, %d older snapshots, %d out of order, %d gave up; ends: %s",
		s.Connected, s.Clients, s.Reconnects, s.Gap.Round(time.Millisecond), s.Silence.Round(time.Millisecond), s.Older, s.Disordered, s.GivenUp,
		strings.Join(ends, ", "))
}

// CaughtUp returns how many clients are connected and have this snapshot or a newer one.
func (c *Clients) CaughtUp(with *contract.Snapshot) (n int) {
	for _, one := range c.Seen() {
		has := &contract.Snapshot{Epoch: one.Epoch, Seq: one.Seq}
		if one.Connected && !with.NewerThan(has) {
			n++
		}
	}
	return n
}
