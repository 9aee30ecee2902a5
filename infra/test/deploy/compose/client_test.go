//go:build deploy

package compose

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sightglass/shared/client"
	"sightglass/shared/contract"
)

// A follower is a client as other programs have it: shared/client, which reconnects.
type follower struct {
	newest atomic.Pointer[contract.Snapshot] // that was delivered; nil before the first

	mu    sync.Mutex
	ended []websocket.StatusCode // how its connections did
}

// connect runs clients until the test ends.
func connect(t *testing.T, url string, clients int) []*follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	all := make([]*follower, clients)
	for i := range all {
		f := new(follower)
		all[i] = f
		running.Go(func() {
			options := client.Options{URL: url, Disconnected: func(reason error, _ time.Duration) { f.disconnected(reason) }}
			if err := client.Run(ctx, options, f.newest.Store); ctx.Err() == nil {
				t.Errorf("client %d gave up: %v", i, err)
			}
		})
	}
	return all
}

// disconnected notes the end of a connection. An attempt that failed is none: nobody is there now.
func (f *follower) disconnected(reason error) {
	if _, failed := errors.AsType[*client.HandshakeError](reason); failed {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, websocket.CloseStatus(reason))
}

// sees reports whether the newest snapshot has the block's price, and was made after a time.
func (f *follower) sees(after time.Time) bool {
	s := f.newest.Load()
	return s != nil && s.Status == contract.Live && s.Price > 5200 && s.Price < 5400 && time.UnixMilli(int64(s.Timestamp*1000)).After(after)
}

// allSee is for programs.Until.
func allSee(clients []*follower, after time.Time) func() bool {
	return func() bool {
		return !slices.ContainsFunc(clients, func(f *follower) bool { return !f.sees(after) })
	}
}

// toldToGo gives how often connections were ended by an edge that stops (1001), and fails if one ended otherwise.
func toldToGo(t *testing.T, clients []*follower) (n int) {
	t.Helper()
	for i, f := range clients {
		f.mu.Lock()
		ended := slices.Clone(f.ended)
		f.mu.Unlock()
		n += len(ended)
		for _, code := range ended {
			if code != websocket.StatusGoingAway {
				t.Errorf("client %d: its connection was ended with %v, want 1001", i, code)
			}
		}
	}
	return n
}
