// Package crowd is many people with the dashboard open: clients of the delta protocol that come back when they lose
// their connection, as edge/web/static/client.js does, and remember what they have been through.
package crowd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sightglass/infra/fanout"
	"sightglass/shared/snapshot"
)

// Options are who is in a crowd.
type Options struct {
	URL          string // of the stream, such as ws://127.0.0.1:8080/ws/mempool
	Clients      int
	PerAddress   int // that share a source address; 0: 3, so that all find places while those on two dead edges still count
	FirstAddress int // the number of the first one's, see fanout.SourceAddress; another crowd needs others
	PerSecond    int // how many connect in a second, at first; 0: 200
}

// A Crowd connects, and comes back, until Stop.
type Crowd struct {
	clients []*client
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	ends map[string]int
}

// Start lets a crowd come, one after another, and does not wait for it.
func Start(o Options) *Crowd {
	if o.PerAddress == 0 {
		o.PerAddress = 3
	}
	if o.PerSecond == 0 {
		o.PerSecond = 200
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Crowd{cancel: cancel, ends: make(map[string]int)}
	for i := range o.Clients {
		one := newClient(o.URL, fanout.SourceAddress(o.FirstAddress+i/o.PerAddress), c.ended)
		c.clients = append(c.clients, one)
		c.running.Go(func() {
			if pause(ctx, time.Duration(i)*time.Second/time.Duration(o.PerSecond)) {
				one.run(ctx)
			}
		})
	}
	return c
}

// Stop makes everyone leave, and returns when all have.
func (c *Crowd) Stop() {
	c.cancel()
	c.running.Wait()
}

func (c *Crowd) ended(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends[why]++
}

// Seen is what one client has been through.
type Seen struct {
	Connected  bool // has a snapshot by the connection that it has now
	Epoch      snapshot.Epoch
	Seq        uint64        // of the newest snapshot
	Older      int           // snapshots that were older than one before, by epoch and seq
	Reconnects int           // connections that brought a snapshot, without the first
	Gap        time.Duration // longest time from the loss of a connection to the first snapshot of another; also of a loss that lasts
	Silence    time.Duration // longest time from a snapshot to a newer one, whatever happened in between; also of a silence that lasts
	GivenUp    bool          // an edge asked it not to come back
}

// Seen tells of each client, in the order in which they came.
func (c *Crowd) Seen() []Seen {
	all := make([]Seen, len(c.clients))
	for i, one := range c.clients {
		all[i] = one.story(time.Now())
	}
	return all
}

// A Summary is what all clients together have been through.
type Summary struct {
	Clients, Connected, GivenUp, Older, Reconnects int
	Gap, Silence                                   time.Duration  // the longest of any client
	Ends                                           map[string]int // how often connections, and attempts at one, ended, by why
}

// Summary tells of all clients.
func (c *Crowd) Summary() Summary {
	s := Summary{Clients: len(c.clients)}
	for _, one := range c.Seen() {
		if one.Connected {
			s.Connected++
		}
		if one.GivenUp {
			s.GivenUp++
		}
		s.Older += one.Older
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
	for _, why := range slices.Sorted(maps.Keys(s.Ends)) {
		ends = append(ends, fmt.Sprintf("%d %s", s.Ends[why], why))
	}
	return fmt.Sprintf("%d of %d clients connected, %d reconnects, longest gap %v, longest silence %v, %d older snapshots, %d gave up; ends: %s",
		s.Connected, s.Clients, s.Reconnects, s.Gap.Round(time.Millisecond), s.Silence.Round(time.Millisecond), s.Older, s.GivenUp,
		strings.Join(ends, ", "))
}

// CaughtUp is how many clients are connected and have this snapshot, or a newer one.
func (c *Crowd) CaughtUp(with *snapshot.Snapshot) (n int) {
	for _, one := range c.Seen() {
		has := &snapshot.Snapshot{Epoch: one.Epoch, Seq: one.Seq}
		if one.Connected && !with.NewerThan(has) {
			n++
		}
	}
	return n
}

// pause waits, and reports whether ctx is still on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
