//go:build deploy

package compose

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sightglass/shared/snapshot"
)

// A client follows the stream as a browser does: whenever its connection ends it makes a new one.
type client struct {
	url string

	mu    sync.Mutex
	last  snapshot.Snapshot
	ended []websocket.StatusCode // how its connections did
}

// connect runs clients until the test ends.
func connect(t *testing.T, url string, clients int) []*client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	all := make([]*client, clients)
	for i := range all {
		all[i] = &client{url: url}
		running.Go(func() { all[i].run(ctx) })
	}
	return all
}

func (c *client) run(ctx context.Context) {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil {
		c.follow(ctx)
		select {
		case <-ctx.Done():
		case <-again.C:
		}
	}
}

// follow takes what comes on one connection.
func (c *client) follow(ctx context.Context) {
	conn, _, err := websocket.Dial(ctx, c.url, nil)
	if err != nil {
		return // nobody is there now
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			c.note(func() {
				if ctx.Err() == nil {
					c.ended = append(c.ended, websocket.CloseStatus(err))
				}
			})
			return
		}
		if s, err := snapshot.Decode(data); err == nil {
			c.note(func() { c.last = *s })
		}
	}
}

func (c *client) note(what func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what()
}

// sees reports whether the newest snapshot has the block's price, and was made after a time.
func (c *client) sees(after time.Time) (yes bool) {
	c.note(func() {
		made := time.UnixMilli(int64(c.last.Timestamp * 1000))
		yes = c.last.Status == snapshot.Live && c.last.Price > 5200 && c.last.Price < 5400 && made.After(after)
	})
	return yes
}

// allSee is for programs.Until.
func allSee(clients []*client, after time.Time) func() bool {
	return func() bool {
		for _, c := range clients {
			if !c.sees(after) {
				return false
			}
		}
		return true
	}
}

// toldToGo gives how often connections were ended by an edge that stops (1001), and fails if one ended otherwise.
func toldToGo(t *testing.T, clients []*client) (n int) {
	t.Helper()
	for i, c := range clients {
		c.note(func() {
			n += len(c.ended)
			for _, code := range c.ended {
				if code != websocket.StatusGoingAway {
					t.Errorf("client %d: its connection was ended with %v, want 1001", i, code)
				}
			}
		})
	}
	return n
}
