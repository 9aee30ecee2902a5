package e2e

import (
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"sightglass/infra/internal/programs"
	"sightglass/shared/snapshot"
)

// TestAnEdgeIsKilled: kill -9 of an edge costs its clients a reconnect elsewhere, and no more: they have the current
// state at once, and never an older one than before.
func TestAnEdgeIsKilled(t *testing.T) {
	w := start(t, 1)
	addr := programs.FreeAddr(t)
	doomed := programs.Launch(t, programs.Build(t, "edge", "edge"), "run", "--listen", addr, "--redis", w.redis.URL())
	programs.Until(t, "the edge to be alive", func() bool { return programs.Alive(addr) })
	var viewers []*viewer
	for range 5 {
		conn, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/ws/mempool", nil)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadLimit(1 << 20)
		v := &viewer{conn: conn}
		if _, err := v.next(t.Context()); err != nil {
			t.Fatal(err)
		}
		viewers = append(viewers, v)
	}
	doomed.Signal(t, syscall.SIGKILL)
	for n, v := range viewers {
		var err error
		for err == nil {
			_, err = v.next(t.Context())
		}
		v.conn.CloseNow()
		v.conn = dial(t, w.edges[0], source(n))
		data, err := read(t.Context(), v.conn)
		if err != nil {
			t.Fatal(err)
		}
		if now, err := snapshot.Decode(data); err != nil || v.last.NewerThan(now) {
			t.Errorf("after the reconnect: %v, seq %d after %d", err, now.Seq, v.last.Seq)
		}
	}
}
