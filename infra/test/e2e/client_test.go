package e2e

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/wstest"
	"sightglass/shared/client"
	"sightglass/shared/contract"
)

// source is the n-th client address of the loopback network.
func source(n int) net.IP { return net.IPv4(127, 0, 1, byte(n+1)) }

// dial connects a WebSocket client from an address.
func dial(t testing.TB, e *edge.Edge, from net.IP) *websocket.Conn {
	t.Helper()
	return wstest.MustDial(t, wstest.URL(e.Addr().String()), from, websocket.DialOptions{})
}

// view connects a client that checks the messages it receives.
func view(t testing.TB, e *edge.Edge, from net.IP) *wstest.Viewer {
	t.Helper()
	return &wstest.Viewer{Conn: dial(t, e, from)}
}

// A follower is a shared/client, which reconnects. It fails the test if an edge sends an older snapshot after a newer
// one.
type follower struct {
	newest  atomic.Pointer[contract.Snapshot] // the delivered one; nil before the first
	reasons chan error                        // errors of ended connections and failed attempts
}

// followStream follows the stream until the test ends, through the first address that accepts connections.
func followStream(t *testing.T, from net.IP, addrs ...string) *follower {
	t.Helper()
	f := &follower{reasons: make(chan error, 1000)}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	first := func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		for _, addr := range addrs {
			if conn, err = dialer.DialContext(ctx, network, addr); err == nil {
				return conn, nil
			}
		}
		return nil, err
	}
	var received *contract.Snapshot
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := client.Run(ctx, client.Options{
			URL:        wstest.URL(addrs[0]),
			HTTPClient: &http.Client{Transport: &http.Transport{DialContext: first}},
			Received: func(s *contract.Snapshot) {
				if received != nil && received.NewerThan(s) {
					t.Errorf("%v: got epoch %s seq %d after epoch %s seq %d, want a newer one", from, s.Epoch, s.Seq, received.Epoch, received.Seq)
				}
				received = s
			},
			Disconnected: func(reason error, _ time.Duration) { f.reasons <- reason },
		}, f.newest.Store)
		if ctx.Err() == nil {
			t.Errorf("%v: got %v from Run, want it to reconnect", from, err)
		}
	}()
	t.Cleanup(func() { stop(); <-ended })
	return f
}

// disconnected waits until a connection or an attempt ends, and returns the reason.
func (f *follower) disconnected(t *testing.T) error {
	t.Helper()
	programs.Until(t, "a client to be disconnected", func() bool { return len(f.reasons) > 0 })
	return <-f.reasons
}

// await waits until the newest snapshot satisfies met, and returns it.
func (f *follower) await(t *testing.T, what string, met func(*contract.Snapshot) bool) (s *contract.Snapshot) {
	t.Helper()
	programs.Until(t, "a client to have "+what, func() bool {
		s = f.newest.Load()
		return s != nil && met(s)
	})
	return s
}

// awaitNewer waits until the newest snapshot is live and newer than old, which may be nil.
func (f *follower) awaitNewer(t *testing.T, old *contract.Snapshot) *contract.Snapshot {
	t.Helper()
	return f.await(t, "a newer snapshot", func(s *contract.Snapshot) bool { return s.Status == contract.Live && s.NewerThan(old) })
}
