package bitcoind

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
)

// Call calls any method, and returns the result as bitcoind wrote it, "null" for none. A call whose response is lost is
// repeated, so the method must be safe to repeat.
//
// Call and all other methods try up to four times while the node is down, busy or starting, and end with ctx. Their
// errors are of one of the kinds of this package, an *Error, or ctx's.
func (c *Client) Call(ctx context.Context, method string, params ...any) (json.RawMessage, error) {
	return invoke(ctx, c, func(raw json.RawMessage) (json.RawMessage, error) {
		if len(raw) == 0 {
			return nil, errors.New("the response has neither result nor error")
		}
		return raw, nil
	}, method, params...)
}

// A Mempool is the content of a node's mempool at one moment.
type Mempool struct {
	IDs      []chainhash.Hash // in no order
	Sequence uint64           // of the next change of the mempool, as in a ZMQ "sequence" message
}

// Mempool returns the IDs of all transactions in the mempool (getrawmempool).
func (c *Client) Mempool(ctx context.Context) (Mempool, error) {
	type result struct {
		IDs      txids   `json:"txids"`
		Sequence *uint64 `json:"mempool_sequence"`
	}
	return invoke(ctx, c, func(r result) (Mempool, error) {
		if r.IDs == nil || r.Sequence == nil {
			return Mempool{}, errors.New("the response has no txids or mempool_sequence, which bitcoind returns since 0.21")
		}
		return Mempool{IDs: r.IDs, Sequence: *r.Sequence}, nil
	}, "getrawmempool", false, true)
}

// MempoolLoaded reports whether the mempool is complete (getmempoolinfo): after a start the node reads mempool.dat for
// a while.
func (c *Client) MempoolLoaded(ctx context.Context) (bool, error) {
	type result struct {
		Loaded *bool `json:"loaded"`
	}
	return invoke(ctx, c, func(r result) (bool, error) {
		if r.Loaded == nil {
			return false, errors.New(`the response has no "loaded", which bitcoind returns since 0.19`)
		}
		return *r.Loaded, nil
	}, "getmempoolinfo")
}

// EntryTimes returns when each transaction entered the mempool, to the second (getmempoolentry). The time is zero for a
// transaction that the mempool does not hold. With a *PartialError it is also zero for those that failed, and the
// others are valid.
func (c *Client) EntryTimes(ctx context.Context, ids []chainhash.Hash) ([]time.Time, error) {
	type result struct {
		Time int64 `json:"time"`
	}
	times := make([]time.Time, len(ids))
	return partialResult(times, invokeEach(ctx, c, "getmempoolentry", ids, func(i int, r result) error {
		if r.Time <= 0 {
			return errors.New("the response has no time")
		}
		times[i] = time.Unix(r.Time, 0)
		return nil
	}))
}

// Transactions returns transactions (getrawtransaction): nil for one that the node does not have. Without txindex= the
// node has only those of the mempool. With a *PartialError those that failed are nil, too, and the others are valid.
func (c *Client) Transactions(ctx context.Context, ids []chainhash.Hash) ([]*wire.MsgTx, error) {
	txs := make([]*wire.MsgTx, len(ids))
	return partialResult(txs, invokeEach(ctx, c, "getrawtransaction", ids, func(i int, raw hexBytes) error {
		tx, err := rawtx.Decode(raw)
		switch {
		case err != nil:
			return err
		case tx.TxHash() != ids[i]:
			return fmt.Errorf("transaction %v in place of it", tx.TxHash())
		}
		txs[i] = tx
		return nil
	}))
}

// A Chain is the state of a node's chain.
type Chain struct {
	Network              string // main, test, testnet4, signet or regtest
	Blocks, Headers      int    // heights: of the last validated block, of the last header
	Best                 chainhash.Hash
	BestTime             time.Time // of the best block, from its header; zero from nodes before version 23
	InitialBlockDownload bool
	Pruned               bool
	PruneHeight          int // the lowest block that the node has; 0 if not Pruned
}

// networkName is what a chain may be called. The name goes to terminals, logs and files.
var networkName = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

// Chain returns the state of the node's chain (getblockchaininfo).
func (c *Client) Chain(ctx context.Context) (Chain, error) {
	type result struct {
		Chain                string `json:"chain"`
		Blocks               int    `json:"blocks"`
		Headers              int    `json:"headers"`
		Best                 *txid  `json:"bestblockhash"`
		Time                 int64  `json:"time"`
		InitialBlockDownload bool   `json:"initialblockdownload"`
		Pruned               bool   `json:"pruned"`
		PruneHeight          int    `json:"pruneheight"`
	}
	return invoke(ctx, c, func(r result) (Chain, error) {
		if !networkName.MatchString(r.Chain) || r.Best == nil {
			return Chain{}, errors.New("the response has no chain or bestblockhash")
		}
		chain := Chain{
			Network: r.Chain, Blocks: r.Blocks, Headers: r.Headers, Best: chainhash.Hash(*r.Best),
			InitialBlockDownload: r.InitialBlockDownload, Pruned: r.Pruned, PruneHeight: r.PruneHeight,
		}
		if r.Time > 0 {
			chain.BestTime = time.Unix(r.Time, 0)
		}
		return chain, nil
	}, "getblockchaininfo")
}

// A Header is a block's header.
type Header struct {
	Time     time.Time // from the header
	Height   int
	Previous chainhash.Hash // zero for the genesis block

	Transactions int // in the block; 0 if the node does not say, or has only the header
}

type headerResult struct {
	Time     int64 `json:"time"`
	Height   *int  `json:"height"`
	Previous txid  `json:"previousblockhash"`
	NTx      int   `json:"nTx"`
}

func (r headerResult) header() (Header, error) {
	if r.Time <= 0 || r.Height == nil {
		return Header{}, errors.New("the response has no time or height")
	}
	return Header{Time: time.Unix(r.Time, 0), Height: *r.Height, Previous: chainhash.Hash(r.Previous), Transactions: r.NTx}, nil
}

// Header returns a block's header (getblockheader). A pruned node has all headers.
func (c *Client) Header(ctx context.Context, hash chainhash.Hash) (Header, error) {
	return invoke(ctx, c, headerResult.header, "getblockheader", hash, true)
}

// Headers returns the headers of blocks, in their order (getblockheader).
func (c *Client) Headers(ctx context.Context, hashes []chainhash.Hash) ([]Header, error) {
	headers := make([]Header, len(hashes))
	err := invokeEach(ctx, c, "getblockheader", hashes, func(i int, r headerResult) (err error) {
		headers[i], err = r.header()
		return err
	}, true)
	if err == nil && slices.ContainsFunc(headers, func(h Header) bool { return h.Time.IsZero() }) {
		err = notFound.wrapf("a block that the node has just named; its chain has changed")
	}
	return headers, err
}

// Hashes returns the hashes of the active chain's blocks from one height to another, both included (getblockhash).
func (c *Client) Hashes(ctx context.Context, from, to int64) ([]chainhash.Hash, error) {
	if to < from {
		return nil, notFound.wrapf("there are no blocks from %d to %d", from, to)
	}
	heights := make([]int64, to-from+1)
	for i := range heights {
		heights[i] = from + int64(i)
	}
	hashes := make([]chainhash.Hash, len(heights))
	return hashes, invokeEach(ctx, c, "getblockhash", heights, func(i int, id txid) error {
		hashes[i] = chainhash.Hash(id)
		return nil
	})
}

// Block returns a block (getblock). The error is ErrPruned if the node has deleted it.
func (c *Client) Block(ctx context.Context, hash chainhash.Hash) (block *wire.MsgBlock, err error) {
	id := c.ids.Add(1)
	err = c.do(ctx, "getblock", newRequest(id, "getblock", []any{hash, 0}), func(in *bufio.Reader) error {
		body, done := blockBuffer()
		defer done()
		if _, err := body.ReadFrom(in); err != nil {
			return err
		}
		raw, ok, err := hexResult(body.Bytes(), id)
		if !ok {
			raw, err = decodeResponse[hexBytes](body, id)
		}
		if err == nil {
			block, err = decodeBlock(raw, hash)
		}
		return err
	})
	return block, err
}

func decodeBlock(raw []byte, hash chainhash.Hash) (*wire.MsgBlock, error) {
	block, err := rawtx.DecodeBlock(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("block %v: %w", hash, err)
	case block.BlockHash() != hash:
		return nil, fmt.Errorf("block %v in place of %v", block.BlockHash(), hash)
	}
	return block, nil
}

// BlockIDs returns the IDs of a block's transactions, the coinbase first (getblock 1).
func (c *Client) BlockIDs(ctx context.Context, hash chainhash.Hash) ([]chainhash.Hash, error) {
	return invoke(ctx, c, func(r struct {
		Tx []txid `json:"tx"`
	}) ([]chainhash.Hash, error) {
		if len(r.Tx) == 0 {
			return nil, errors.New("a block without transactions")
		}
		ids := make([]chainhash.Hash, len(r.Tx))
		for i, id := range r.Tx {
			ids[i] = chainhash.Hash(id)
		}
		return ids, nil
	}, "getblock", hash, 1)
}

// A Notification is a topic that the node publishes over ZMQ.
type Notification struct {
	Topic     string // such as rawtx, for the setting zmqpubrawtx=
	Address   string // where the node publishes it, such as tcp://127.0.0.1:28332
	HighWater int    // messages that the node queues for a slow subscriber before it drops some
}

// Notifications returns what the node publishes over ZMQ (getzmqnotifications). The error is ErrMethod if it was built
// without ZMQ.
func (c *Client) Notifications(ctx context.Context) ([]Notification, error) {
	type result []struct {
		Type    string `json:"type"`
		Address string `json:"address"`
		HWM     int    `json:"hwm"`
	}
	return invoke(ctx, c, func(r result) ([]Notification, error) {
		if r == nil {
			return nil, errors.New("the response is not a list")
		}
		var list []Notification
		for _, n := range r {
			list = append(list, Notification{strings.TrimPrefix(n.Type, "pub"), n.Address, n.HWM})
		}
		return list, nil
	}, "getzmqnotifications")
}

// A Network is what a node reports about itself as a peer.
type Network struct {
	Version string // its user agent, such as /Satoshi:28.1.0/
	// Relay is false for a node with blocksonly=1: it accepts no transactions from peers, so its mempool stays empty.
	Relay bool
}

// Network returns the node's version and whether it relays transactions (getnetworkinfo).
func (c *Client) Network(ctx context.Context) (Network, error) {
	type result struct {
		Subversion string `json:"subversion"`
		LocalRelay *bool  `json:"localrelay"`
	}
	return invoke(ctx, c, func(r result) (Network, error) {
		if r.Subversion == "" {
			return Network{}, errors.New("the response has no subversion")
		}
		return Network{Version: r.Subversion, Relay: r.LocalRelay == nil || *r.LocalRelay}, nil
	}, "getnetworkinfo")
}
