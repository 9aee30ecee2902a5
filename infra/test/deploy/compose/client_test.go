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

// A follower is a shared/client, which reconnects.
type follower struct {
	newest atomic.Pointer[contract.Snapshot] // the delivered one; nil before the first

	mu    sync.Mutex
	ended []websocket.StatusCode // close codes of its connections
}

// connect runs clients until the test ends.
func connect(t testing.TB, url string, clients int) []*follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	all := make([]*follower, clients)
	t.Cleanup(func() {
		cancel()
		running.Wait()
		for i, f := range all {
			if s := f.newest.Load(); t.Failed() && s != nil {
				t.Logf("client %d: its newest snapshot is of %v: %s, %.2f USD, confidence %.3f, epoch %s", i,
					time.UnixMilli(int64(s.Timestamp*1000)).UTC(), s.Status, s.Price, s.Confidence, s.Epoch)
			}
		}
	})
	for i := range all {
		f := new(follower)
		all[i] = f
		running.Go(func() {
			options := client.Options{URL: url, Disconnected: func(reason error, _ time.Duration) { f.disconnected(reason) }}
			if err := client.Run(ctx, options, f.newest.Store); ctx.Err() == nil {
				t.Errorf("client %d: got %v from Run, want it to reconnect", i, err)
			}
		})
	}
	return all
}

// disconnected records the end of a connection. A failed attempt is none: no edge is running.
func (f *follower) disconnected(reason error) {
	if _, failed := errors.AsType[*client.HandshakeError](reason); failed {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, websocket.CloseStatus(reason))
}

// sees reports whether the newest snapshot has the block's price, and is of a later time than after.
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

// goingAway returns how many connections a stopping edge has ended (1001), and fails if one ended otherwise.
func goingAway(t testing.TB, clients []*follower) (n int) {
	t.Helper()
	for i, f := range clients {
		f.mu.Lock()
		ended := slices.Clone(f.ended)
		f.mu.Unlock()
		n += len(ended)
		for _, code := range ended {
			if code != websocket.StatusGoingAway {
				t.Errorf("client %d: got close code %v, want 1001", i, code)
			}
		}
	}
	return n
}
