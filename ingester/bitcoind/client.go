// Package bitcoind is a client for a node's JSON-RPC. It implements the framing itself, over net/http and
// encoding/json: of the Go clients, btcd's has no contexts, and others reject responses without "jsonrpc":"2.0", which
// bitcoind writes only since version 28.
package bitcoind

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// defaultTimeout is bitcoind's own timeout for a client (rpcservertimeout=).
	defaultTimeout = 30 * time.Second
	// maxTries, and pauses from firstPause doubling to maxPause: a full queue empties in this time. A node that starts
	// takes minutes; waiting for that is up to the caller.
	maxTries   = 4
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
	// maxConnections: bitcoind serves 4 calls at a time (rpcthreads=), and other clients need some of them.
	maxConnections = 4
	// idleTimeout is below bitcoind's rpcservertimeout=, so that the client closes first, and never with a call in
	// flight.
	idleTimeout = 20 * time.Second
	// maxResponse bounds the memory for one response, in bytes: a block in hex is 8 MB, a mempool of 300,000 is 20 MB,
	// and maxBatch of the largest transactions that nodes relay (400,000 units) are 200 MB.
	maxResponse = 256 << 20
)

// A Client calls one node. It is safe for concurrent use.
type Client struct {
	opts        Options // without the user in the URL
	http        *http.Client
	metrics     *metrics
	ids         atomic.Uint64 // the last ID used
	noREST      atomic.Bool   // the node does not serve REST
	newBackOff  func() backoff.BackOff
	maxResponse int64
}

// New returns a client. It does not connect: a node that is down is no error. The error is that of Validate.
func New(o Options) (*Client, error) {
	o, err := o.resolve()
	if err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return &Client{
		opts:    o,
		metrics: newMetrics(o.Registerer),
		http: &http.Client{
			// The environment's proxy is not used: it would receive the password in the clear.
			Transport: &http.Transport{DialContext: dial, MaxConnsPerHost: maxConnections, MaxIdleConnsPerHost: maxConnections, IdleConnTimeout: idleTimeout},
			// bitcoind never redirects, and no other host may receive the password.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		newBackOff: func() backoff.BackOff {
			b := backoff.NewExponentialBackOff() // with jitter of half
			b.InitialInterval, b.MaxInterval, b.Multiplier = firstPause, maxPause, 2
			return b
		},
		maxResponse: cmp.Or(o.MaxResponse, maxResponse),
	}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// A request is one call. Its version is 1.0: nodes before 28 ignore the field, and newer ones respond as the old do, so
// there is one behaviour to handle (result and error both present, HTTP 500 for errors). Version 2.0 adds nothing here.
type request struct {
	Version string `json:"jsonrpc"`
	ID      uint64 `json:"id"`
	Method  string `json:"method"`
	Params  []any  `json:"params"`
}

func newRequest(id uint64, method string, params []any) request {
	if params == nil {
		params = []any{}
	}
	return request{Version: "1.0", ID: id, Method: method, Params: params}
}

// do sends body, which calls method, until read accepts a response, an error is permanent, or the tries are used up.
func (c *Client) do(ctx context.Context, method string, body any, read func(*bufio.Reader) error) (err error) {
	defer func(began time.Time) { c.metrics.observe(method, began, err) }(time.Now())
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("parameters of %s: %w", method, err)
	}
	var last error
	reread := c.opts.Cookie != "" // the node may have just written another cookie: try once more
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		last = c.try(ctx, encoded, read)
		switch {
		case last == nil || transient(last):
			return struct{}{}, last
		case reread && errors.Is(last, ErrCredentials):
			reread = false
			return struct{}{}, last
		}
		return struct{}{}, backoff.Permanent(last)
	}, backoff.WithBackOff(c.newBackOff()), backoff.WithMaxTries(maxTries), backoff.WithMaxElapsedTime(0))
	if err == nil {
		return nil
	}
	var rpcErr *Error
	if errors.As(last, &rpcErr) {
		rpcErr.Method = method
	}
	switch over := ctx.Err(); {
	case over == nil:
	case errors.Is(last, over):
		err = last
	default:
		err = fmt.Errorf("%w, after %w", over, last)
	}
	return fmt.Errorf("bitcoind at %s: %s: %w", c.opts.URL, method, err)
}

// try sends the request once.
func (c *Client) try(ctx context.Context, body []byte, read func(*bufio.Reader) error) error {
	limited, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	err := c.post(limited, body, read)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ctx.Err(), unreachable.wrapf("the call did not complete in time"))
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return unreachable.wrapf("timeout after %v", c.opts.Timeout)
	}
	return err
}
