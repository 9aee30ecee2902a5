package crowd

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// A pulse asks after a connection that is silent, and ends one that does not answer.
type pulse struct {
	conn  *websocket.Conn
	heard atomic.Pointer[time.Time] // when anything last came
}

// beat is called for everything that comes, and before watch.
func (p *pulse) beat() {
	now := time.Now()
	p.heard.Store(&now)
}

// watch returns when ctx or the connection has ended.
func (p *pulse) watch(ctx context.Context) {
	for pause(ctx, time.Until(p.heard.Load().Add(pingAfter))) {
		before := p.heard.Load()
		if time.Since(*before) < pingAfter {
			continue
		}
		// If this fails the reader is told of it.
		p.conn.Write(ctx, websocket.MessageText, []byte(`{"type":"ping","timestamp":0}`)) //nolint:errcheck // see above
		if pause(ctx, pongPatience) && p.heard.Load() == before {
			p.conn.CloseNow()
			return
		}
	}
}
