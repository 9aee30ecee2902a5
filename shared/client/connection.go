package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"sightglass/shared/contract"
)

const protocol = "sightglass.delta.v1"

// maxMessage bounds a message in bytes. A keyframe with contract.MaxTransactions points and the longest numbers has
// about 70,000.
const maxMessage = 1 << 20

// ErrSilent is the reason for closing a connection that received nothing, not even the pong to a ping.
var ErrSilent = errors.New("the connection is silent: no pong")

// A HandshakeError is the reason of a failed attempt to connect.
type HandshakeError struct {
	Status int // of the HTTP response; 0: no response; 101: the server did not select sightglass.delta.v1
	Err    error
}

func (e *HandshakeError) Error() string { return e.Err.Error() }

func (e *HandshakeError) Unwrap() error { return e.Err }

// connect dials the edge. Its errors are HandshakeErrors.
func (f *follower) connect(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timing.handshake)
	defer cancel()
	conn, response, err := websocket.Dial(ctx, f.URL, &websocket.DialOptions{ //nolint:bodyclose // Dial closes it
		HTTPClient: f.HTTPClient, Subprotocols: []string{protocol},
	})
	switch {
	case response == nil:
		return nil, &HandshakeError{0, err}
	case err != nil:
		return nil, &HandshakeError{response.StatusCode, err}
	case conn.Subprotocol() != protocol:
		conn.CloseNow()
		return nil, &HandshakeError{http.StatusSwitchingProtocols, errors.New("the server does not support " + protocol)}
	}
	conn.SetReadLimit(maxMessage)
	return conn, nil
}

// connection follows one connection from the handshake to its end. It returns the reason of the end, and the time since
// the first snapshot, 0 if there was none.
func (f *follower) connection(ctx context.Context) (good time.Duration, reason error) {
	conn, err := f.connect(ctx)
	if err != nil {
		return 0, err
	}
	reading, stop := context.WithCancelCause(ctx)
	received := make(chan struct{}, 1)
	var watching sync.WaitGroup
	watching.Go(func() {
		if f.watch(reading, conn, received) != nil {
			stop(ErrSilent) // ends read
		}
	})
	defer watching.Wait()
	defer conn.CloseNow()
	defer stop(nil)

	var first time.Time
	reason = f.read(reading, conn, func(s *contract.Snapshot) {
		if first.IsZero() {
			first = time.Now()
		}
		if f.Received != nil {
			f.Received(s)
		}
		f.latest.offer(s)
		select {
		case received <- struct{}{}:
		default:
		}
	})
	if errors.Is(context.Cause(reading), ErrSilent) && websocket.CloseStatus(reason) < 0 {
		reason = ErrSilent
	}
	if !first.IsZero() {
		good = time.Since(first)
	}
	return good, reason
}

// read calls deliver with the connection's snapshots, until the connection ends or a message is invalid.
func (f *follower) read(ctx context.Context, conn *websocket.Conn, deliver func(*contract.Snapshot)) error {
	var replica contract.Replica
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		if kind != websocket.MessageText {
			return fmt.Errorf("%w: a binary message", contract.ErrInvalidSnapshot)
		}
		s, err := replica.Apply(message)
		if err != nil {
			return err
		}
		deliver(s)
	}
}

// watch pings the edge when nothing was received for a while, because a dead connection and an edge without snapshots
// look the same. It returns ErrSilent if there is no pong, and nil when ctx or the connection has ended.
func (f *follower) watch(ctx context.Context, conn *websocket.Conn, received <-chan struct{}) error {
	silence := time.NewTimer(f.timing.ping)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-received:
		case <-silence.C:
			pinging, cancel := context.WithTimeout(ctx, f.timing.pong)
			err := conn.Ping(pinging)
			unanswered := pinging.Err()
			cancel()
			switch {
			case ctx.Err() != nil:
				return nil
			case unanswered != nil:
				return ErrSilent
			case err != nil: // the connection has ended; read returns the reason
				return nil
			}
		}
		silence.Reset(f.timing.ping)
	}
}
