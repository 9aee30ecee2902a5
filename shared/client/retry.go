package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/coder/websocket"
)

// codeTooManyConnections is the edge's close code for an address that has all the connections it may have.
const codeTooManyConnections websocket.StatusCode = 4029

// final reports whether a close code asks a client not to reconnect: its messages were wrong, and will be again.
func final(code websocket.StatusCode) bool {
	switch code {
	case websocket.StatusProtocolError, websocket.StatusUnsupportedData, websocket.StatusInvalidFramePayloadData,
		websocket.StatusPolicyViolation, websocket.StatusMessageTooBig:
		return true
	}
	return false
}

const (
	firstBackoff       = 500 * time.Millisecond
	maxBackoff         = 30 * time.Second
	tooManyConnections = time.Minute
)

// backoff is the time to wait after so many failures in a row, from 0: at random from 0 to a limit that doubles (full
// jitter), so that the clients of an edge that stops do not all reconnect at once.
func backoff(failures int) time.Duration {
	limit := min(maxBackoff, firstBackoff<<min(failures, 10))
	return time.Duration(rand.Int64N(int64(limit)))
}

// timing is how long a follower waits for what. Tests have a shorter one.
type timing struct {
	handshake time.Duration // at most, for the whole of it
	ping      time.Duration // without a message, until a ping
	pong      time.Duration // at most, for the answer
	good      time.Duration // from a connection's first snapshot to its end, if the connection was no failure
	backoff   func(failures int) time.Duration
}

// standard is the timing of static/client.js, too.
func standard() timing {
	return timing{
		handshake: 10 * time.Second, ping: 10 * time.Second, pong: 5 * time.Second, good: time.Minute, backoff: backoff,
	}
}

// A follower is one call of Run.
type follower struct {
	Options
	timing timing
	latest *latest
}

// stayConnected reconnects until ctx ends, or an edge asks it not to. Its error is never nil.
func (f *follower) stayConnected(ctx context.Context) error {
	for failures := 0; ; {
		good, reason := f.connection(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		code := websocket.CloseStatus(reason)
		if final(code) {
			return fmt.Errorf("client: the edge asks not to reconnect: %w", reason)
		}
		if good >= f.timing.good {
			failures = 0
		}
		wait := tooManyConnections
		if code != codeTooManyConnections {
			wait = f.timing.backoff(failures)
			failures++
		}
		if f.Disconnected != nil {
			f.Disconnected(reason, wait)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}
