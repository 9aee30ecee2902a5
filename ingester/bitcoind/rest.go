package bitcoind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
)

// errNoREST is returned by a node without rest=1.
var errNoREST = errors.New("the node does not serve REST")

// FastBlock returns a block like Block, over the node's REST interface if it serves that (rest=1): the bytes of the block
// instead of hex in JSON, which takes half as long again in all. REST needs no password, and is tried once without repeats: where
// it gives no block, Block says why.
func (c *Client) FastBlock(ctx context.Context, hash chainhash.Hash) (*wire.MsgBlock, error) {
	if c.noREST.Load() {
		return c.Block(ctx, hash)
	}
	began := time.Now()
	block, err := c.restBlock(ctx, hash)
	c.metrics.observe("rest_block", began, err)
	if errors.Is(err, errNoREST) {
		c.noREST.Store(true)
	}
	if err != nil && ctx.Err() == nil {
		return c.Block(ctx, hash)
	}
	return block, err
}

// blockBuffer returns a buffer for a block while it is decoded, until done is called.
func blockBuffer() (b *bytes.Buffer, done func()) {
	b = blockBuffers.Get().(*bytes.Buffer) //nolint:forcetypeassert // the pool's only type
	b.Reset()
	return b, func() { blockBuffers.Put(b) }
}

var blockBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (c *Client) restBlock(ctx context.Context, hash chainhash.Hash) (*wire.MsgBlock, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	base, err := url.Parse(c.opts.URL)
	if err != nil {
		return nil, err
	}
	path := url.URL{Scheme: base.Scheme, Host: base.Host, Path: "/rest/block/" + hash.String() + ".bin"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path.String(), nil)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, classifyTransport(err)
	}
	defer res.Body.Close()
	buffer, done := blockBuffer()
	defer done()
	if _, err := buffer.ReadFrom(io.LimitReader(res.Body, rawtx.MaxSize+1)); err != nil {
		return nil, unreachable.wrap(err)
	}
	switch {
	case res.StatusCode == http.StatusOK:
		return decodeBlock(buffer.Bytes(), hash)
	case res.StatusCode == http.StatusServiceUnavailable, bytes.Contains(buffer.Bytes(), []byte(hash.String())):
		return nil, fmt.Errorf("HTTP %s: %.80q", res.Status, buffer) // about the moment, or the block
	}
	return nil, fmt.Errorf("%w: HTTP %s", errNoREST, res.Status)
}
