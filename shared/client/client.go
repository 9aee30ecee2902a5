// Package client follows an edge's stream of snapshots. It connects to /ws/mempool with the subprotocol
// sightglass.delta.v1, rebuilds each snapshot, and reconnects as docs/clients.md says, until its context ends or an edge
// asks it not to reconnect.
//
// Snapshots are state, not events: a slow consumer gets the newest and skips the ones in between. Within an epoch Run
// never delivers an older snapshot after a newer one, across connections too: it ignores an edge that is behind the one
// before. Between epochs Run follows the edge's keyframes, including those to a lower epoch, which edges accept after
// Redis was emptied and the ingester's clock was set back. A stale snapshot replaces a live one only within its epoch,
// because an edge without updates may have missed a new epoch.
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
	// URL is the stream's URL, such as wss://edge.example/ws/mempool.
	URL string

	// HTTPClient makes the handshakes. Its Transport sets the proxy, TLS and the source address. nil: http.DefaultClient.
	HTTPClient *http.Client

	// Received, if set, is called with every snapshot that an edge sends, including those that Run does not deliver:
	// older ones, and ones that are replaced before the consumer is ready. It must not block.
	Received func(*contract.Snapshot)

	// Disconnected, if set, is called when a connection ends or an attempt to connect fails, with the reason and the time
	// until the next attempt. It must not block. The reason wraps a HandshakeError; or a websocket.CloseError of
	// github.com/coder/websocket, if the edge closed the connection; or ErrSilent; or contract.ErrInvalidSnapshot, if a
	// message was invalid. Any other reason is an error of the network. The last reason is not passed: Run returns it.
	Disconnected func(reason error, retryIn time.Duration)
}

// validate returns an error that names the invalid option.
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
// returns ctx's cause, or an error that wraps websocket.CloseError. An invalid option is returned at once.
//
// Run calls deliver with each newer snapshot, from the caller's goroutine, and never after ctx has ended. While deliver
// runs, newer snapshots replace each other. If none was received for 3 s, connected or not, Run delivers the last
// snapshot again with the status stale, as edges do. Snapshots share memory and must not be changed.
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
