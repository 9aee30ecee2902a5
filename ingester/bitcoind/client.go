// Package bitcoind asks a node over its JSON-RPC. The framing is our own, over net/http and encoding/json: of the
// clients for Go, btcd's knows no contexts, and others refuse answers that lack "jsonrpc":"2.0", which bitcoind only
// writes since version 28.
package bitcoind

import (
	"bufio"
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
	// defaultTimeout is bitcoind's own patience with a client (rpcservertimeout=).
	defaultTimeout = 30 * time.Second
	// maxTries, and pauses from firstPause doubling to maxPause: a queue that is full empties in this time. A node that
	// starts takes minutes; waiting for that is up to the caller.
	maxTries   = 4
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
	// maxConnections: bitcoind serves 4 calls at a time (rpcthreads=) and others want some of them too.
	maxConnections = 4
	// idleTimeout is below bitcoind's rpcservertimeout=, so that we hang up before it does, and not with a call on the way.
	idleTimeout = 20 * time.Second
	// maxAnswer bounds the memory for one answer, in bytes: a block in hex is 8 MB, a mempool of 300,000 is 20 MB, and
	// maxBatch of the largest transactions that nodes relay (400,000 units) are 200 MB.
	maxResponse = 256 << 20
)

// A Client asks one node. It may be used by several goroutines at a time.
type Client struct {
	opts        Options // with the user taken out of the URL
	http        *http.Client
	metrics     *metrics
	ids         atomic.Uint64 // the last id that was used
	newBackOff  func() backoff.BackOff
	maxResponse int64
}

// New makes a client. It does not connect yet: a node that is not there is no error. The error is that of Validate.
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
			// No proxy from the environment: a password that goes there in the clear is not what a proxy for the web is set for.
			Transport: &http.Transport{DialContext: dial, MaxConnsPerHost: maxConnections, MaxIdleConnsPerHost: maxConnections, IdleConnTimeout: idleTimeout},
			// bitcoind never redirects, and the password is for no one else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		newBackOff: func() backoff.BackOff {
			b := backoff.NewExponentialBackOff() // with jitter of half
			b.InitialInterval, b.MaxInterval, b.Multiplier = firstPause, maxPause, 2
			return b
		},
		maxResponse: maxResponse,
	}, nil
}

// Close ends the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// A request is one call. Its version is 1.0: nodes before 28 ignore the field and newer ones then answer as the old do,
// so there is one behaviour to know (error and result both there, HTTP 500 for errors). A 2.0 has nothing for us.
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

// do sends body, which asks for method, until read has an answer, an error will not pass or there were enough tries.
func (c *Client) do(ctx context.Context, method string, body any, read func(*bufio.Reader) error) (err error) {
	defer func(began time.Time) { c.metrics.observe(method, began, err) }(time.Now())
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("parameters of %s: %w", method, err)
	}
	var last error
	reread := c.opts.Cookie != "" // the node may just have written another cookie: that is one more try
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
	var said *Error
	if errors.As(last, &said) {
		said.Method = method
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

// try sends once.
func (c *Client) try(ctx context.Context, body []byte, read func(*bufio.Reader) error) error {
	limited, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	err := c.post(limited, body, read)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ctx.Err(), unreachable.wrapf("nothing came, or not all of it, in this time"))
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return unreachable.wrapf("nothing came, or not all of it, within %v", c.opts.Timeout)
	}
	return err
}
