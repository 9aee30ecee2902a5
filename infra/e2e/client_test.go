package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sightglass/edge"
	"sightglass/shared/snapshot"
)

// source is the n-th address of the loopback network that clients come from.
func source(n int) net.IP { return net.IPv4(127, 0, 1, byte(n+1)) }

// dial connects a WebSocket client from an address of its own.
func dial(t testing.TB, e *edge.Edge, from net.IP) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	conn, _, err := websocket.Dial(ctx, "ws://"+e.Addr().String()+"/ws/mempool", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	return conn
}

// read gives the next message.
func read(ctx context.Context, conn *websocket.Conn) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	kind, data, err := conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText {
		return nil, fmt.Errorf("a message of type %v, want text", kind)
	}
	return data, nil
}

// A viewer is a client that checks what every client may expect of the plain protocol.
type viewer struct {
	conn *websocket.Conn
	last *snapshot.Snapshot
}

// next reads a snapshot and checks that it follows the one before.
func (v *viewer) next(ctx context.Context) (*snapshot.Snapshot, error) {
	data, err := read(ctx, v.conn)
	if err != nil {
		return nil, err
	}
	s, err := snapshot.Decode(data)
	if err != nil {
		return nil, err
	}
	if s.Status != snapshot.Stale && !s.NewerThan(v.last) {
		return nil, fmt.Errorf("epoch %s seq %d came after epoch %s seq %d", s.Epoch, s.Seq, v.last.Epoch, v.last.Seq)
	}
	v.last = s
	return s, nil
}

// until reads on until a snapshot is as wanted.
func (v *viewer) until(ctx context.Context, met func(*snapshot.Snapshot) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		s, err := v.next(ctx)
		if err != nil {
			return err
		}
		if met(s) {
			return nil
		}
	}
}
