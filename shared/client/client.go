// Package client follows an edge's stream of snapshots. It connects to /ws/mempool with the subprotocol
// sightglass.delta.v1, rebuilds each snapshot, and reconnects as docs/clients.md says, until its context ends or an edge
// asks it not to reconnect.
//
// Snapshots are state, not events: a slow consumer gets the newest and skips the ones in between. Within an epoch, an
// older snapshot never follows a newer one, also across connections: while an edge is behind the one before, Run delivers
// nothing of it. Between epochs the edge decides: Run follows its keyframe to a lower epoch, too, to which edges go back
// after Redis was emptied and the ingester's clock set back. But a stale snapshot replaces a live one only within its
// epoch: an edge without news may have missed that the epoch has changed.
package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"sightglass/shared/contract"
)

// Options are the settings of Run. Only URL is required.
type Options struct {
	// URL is that of the stream, such as wss://edge.example/ws/mempool.
	URL string

	// HTTPClient makes the handshakes; its Transport sets the proxy, TLS and the source address. nil:
	// http.DefaultClient.
	HTTPClient *http.Client

	// Received, if set, is called with every snapshot that an edge sends, including those that Run does not deliver:
	// older ones, and ones that are replaced before the consumer is ready. It must not block.
	Received func(*contract.Snapshot)

	// Disconnected, if set, is called when a connection or an attempt to connect has failed, with the reason and the
	// time until the next attempt. It must not block. The reason wraps a HandshakeError, a websocket.CloseError of
	// github.com/coder/websocket if the edge closed the connection, ErrSilent, or contract.ErrInvalidSnapshot if a message was
	// wrong; otherwise the connection broke. The last reason is not reported here: Run returns it.
	Disconnected func(reason error, retryIn time.Duration)
}

// validate names what is wrong with the options.
func (o *Options) validate() error {
	u, err := url.Parse(o.URL)
	if err != nil {
		return fmt.Errorf("client: URL: %w", err)
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return fmt.Errorf("client: URL: %q does not start with ws:// or wss://", o.URL)
	}
	if u.Host == "" {
		return fmt.Errorf("client: URL: %q has no host", o.URL)
	}
	return nil
}

// Run follows the stream until ctx ends or an edge closes the connection with a code that asks not to reconnect. It
// returns ctx's cause, or an error that wraps websocket.CloseError; and at once if an option is invalid.
//
// Run calls deliver with each new snapshot, from the caller's goroutine, and not after ctx has ended. While deliver runs,
// newer snapshots replace each other. When nothing newer has come for 3 s, connected or not, Run delivers the last
// snapshot once more with the status stale, as edges do. Snapshots share memory and must not be changed.
func Run(ctx context.Context, o Options, deliver func(*contract.Snapshot)) error {
	return run(ctx, o, standard(), deliver)
}

func run(ctx context.Context, o Options, t timing, deliver func(*contract.Snapshot)) error {
	if err := o.validate(); err != nil {
		return err
	}
	f := &follower{Options: o, timing: t, latest: newLatest()}
	following, stop := context.WithCancel(ctx)
	var connections sync.WaitGroup
	var err error
	connections.Go(func() {
		defer f.latest.end()
		err = f.stayConnected(following)
	})
	defer connections.Wait()
	defer stop() // deliver may panic
	f.latest.deliver(ctx, deliver)
	connections.Wait()
	return err
}
