package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/coder/websocket"
)

// codeTooManyConnections is the edge's close code for an address that is at its connection limit.
const codeTooManyConnections websocket.StatusCode = 4029

// final reports whether a close code asks a client not to reconnect: its messages were invalid, and would be again.
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

// backoff returns the time to wait after consecutive failures, counted from 0: random up to a limit that doubles (full
// jitter), so that the clients of an edge that stops do not all reconnect at once.
func backoff(failures int) time.Duration {
	limit := min(maxBackoff, firstBackoff<<min(failures, 10))
	return time.Duration(rand.Int64N(int64(limit)))
}

// timing holds a follower's timeouts. Tests use shorter ones.
type timing struct {
	handshake time.Duration // timeout of the handshake
	ping      time.Duration // time without a message before a ping
	pong      time.Duration // timeout of the pong
	good      time.Duration // time from the first snapshot after which the end of a connection is not a failure
	backoff   func(failures int) time.Duration
}

// standard returns the timing that static/client.js has too.
func standard() timing {
	return timing{
		handshake: 10 * time.Second, ping: 10 * time.Second, pong: 5 * time.Second, good: time.Minute, backoff: backoff,
	}
}

// A follower holds the state of one call of Run.
type follower struct {
	Options
	timing timing
	latest *latest
}

// stayConnected reconnects until ctx ends or an edge asks it not to. Its error is never nil.
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
