package node

import (
	"context"
	"errors"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/bitcoind"
)

// A request is an RPC request of the tracker. fetch calls RPC, outside the loop. The function that it returns applies
// the response, in the loop.
type request interface {
	fetch(ctx context.Context, rpc *bitcoind.Client) (apply func(t *tracker, now time.Time))
}

// listRequest is for the node's mempool, with its settings if they are needed.
type listRequest struct {
	number       int // of this request
	withSettings bool
}

// list is the node's mempool, with the chain and the settings fetched with it.
type list struct {
	bitcoind.Mempool
	loaded    bool
	chain     bitcoind.Chain
	published []bitcoind.Notification

	network    *bitcoind.Network // nil if it was not fetched
	networkErr error
}

func (r listRequest) fetch(ctx context.Context, rpc *bitcoind.Client) func(*tracker, time.Time) {
	l, err := r.list(ctx, rpc)
	return func(t *tracker, now time.Time) {
		if r.number == t.sync.request {
			t.applyList(l, err, now)
		}
	}
}

// list fetches the chain last, so that the tip is no older than the list.
func (r listRequest) list(ctx context.Context, rpc *bitcoind.Client) (l list, err error) {
	if l.loaded, err = rpc.MempoolLoaded(ctx); err != nil || !l.loaded {
		return l, err // an incomplete list is of no use
	}
	if l.Mempool, err = rpc.Mempool(ctx); err != nil {
		return l, err
	}
	if l.chain, err = rpc.Chain(ctx); err != nil {
		return l, err
	}
	if r.withSettings {
		l.published, err = rpc.Notifications(ctx)
		l.published = append([]bitcoind.Notification{}, l.published...) // an empty list is a result, too
		var network bitcoind.Network
		if network, l.networkErr = rpc.Network(ctx); l.networkErr == nil { // only advice depends on it
			l.network = &network
		}
	}
	return l, err
}

// idleRequest checks whether the node's mempool and chain have changed since the last message.
type idleRequest struct{ lastMessage time.Time }

func (r idleRequest) fetch(ctx context.Context, rpc *bitcoind.Client) func(*tracker, time.Time) {
	mempool, err := rpc.Mempool(ctx)
	var chain bitcoind.Chain
	if err == nil {
		chain, err = rpc.Chain(ctx)
	}
	return func(t *tracker, now time.Time) { t.applyIdle(r, mempool.Sequence, chain.Best, err, now) }
}

// blockRequest is for a part of a block.
type blockRequest struct {
	hash   chainhash.Hash
	wanted part
	oldest time.Time // of an older block only the header is fetched
}

// part is how much of a block is wanted, besides its header.
type part uint8

const (
	nothing part = iota
	onlyIDs      // the IDs of its transactions
	all
)

// block is the fetched part of a block.
type block struct {
	previous chainhash.Hash
	at       time.Time
	txs      []*wire.MsgTx // nil if they are not wanted, or too old
	ids      []chainhash.Hash
}

// block fetches the header, and the wanted part unless the block is too old. With an error about the block itself the
// result has the header, and the IDs if they could be fetched.
func (r blockRequest) block(ctx context.Context, rpc *bitcoind.Client) (b block, err error) {
	h, err := rpc.Header(ctx, r.hash)
	if err != nil {
		return b, err
	}
	b.previous, b.at = h.Previous, h.Time
	switch {
	case h.Time.Before(r.oldest):
	case r.wanted == onlyIDs:
		b.ids, err = rpc.BlockIDs(ctx, r.hash)
	case r.wanted == all:
		var full *wire.MsgBlock
		if full, err = rpc.Block(ctx, r.hash); err == nil {
			b.txs, b.ids = full.Transactions, make([]chainhash.Hash, len(full.Transactions))
			for i, tx := range full.Transactions {
				b.ids[i] = tx.TxHash()
			}
		} else if bitcoind.AboutOne(err) {
			b.ids, _ = rpc.BlockIDs(ctx, r.hash) // nil if this fails too; skipBlock decides what follows from that
		}
	}
	return b, err
}

// walkRequest is for the next block of a walk.
type walkRequest struct {
	blockRequest
	walk *walk
}

func (r walkRequest) fetch(ctx context.Context, rpc *bitcoind.Client) func(*tracker, time.Time) {
	b, err := r.block(ctx, rpc)
	return func(t *tracker, now time.Time) { t.applyWalk(r, b, err, now) }
}

// changeRequest is for the block of the first waiting change of the chain.
type changeRequest struct {
	blockRequest
	message message
}

func (r changeRequest) fetch(ctx context.Context, rpc *bitcoind.Client) func(*tracker, time.Time) {
	b, err := r.block(ctx, rpc)
	if err == nil && b.ids == nil {
		b.ids, err = rpc.BlockIDs(ctx, r.hash)
	}
	return func(t *tracker, now time.Time) { t.applyFetchedChange(r.message, b, err, now) }
}

// timeRequest is for the time of a block whose transactions came over ZMQ.
type timeRequest struct {
	hash     chainhash.Hash
	received int           // the number of its transactions that came
	unseen   []*wire.MsgTx // those that did not come before the block
}

func (r timeRequest) fetch(ctx context.Context, rpc *bitcoind.Client) func(*tracker, time.Time) {
	header, err := rpc.Header(ctx, r.hash)
	return func(t *tracker, now time.Time) { t.applyTime(r, header, err, now) }
}

// bodiesRequest is for transactions of the mempool.
type bodiesRequest struct {
	ids    []chainhash.Hash
	list   int       // the number of the list that they are from
	oldest time.Time // older transactions are not fetched
}

// bodies is the response to a bodiesRequest.
type bodies struct {
	received []fetched
	old      []chainhash.Hash // older than the window, so their bodies were not fetched
	failed   map[chainhash.Hash]error
}

func (r bodiesRequest) fetch(ctx context.Context, rpc *bitcoind.Client) func(*tracker, time.Time) {
	b, err := r.bodies(ctx, rpc)
	return func(t *tracker, now time.Time) { t.applyBodies(r, b, err, now) }
}

// bodies fetches the entry times first, and then the bodies of those within the window.
func (r bodiesRequest) bodies(ctx context.Context, rpc *bitcoind.Client) (b bodies, err error) {
	times, err := rpc.EntryTimes(ctx, r.ids)
	if err := b.collectFailed(r.ids, err); err != nil {
		return b, err
	}
	var recent []chainhash.Hash
	var at []time.Time
	for i, entered := range times {
		switch {
		case entered.IsZero(): // it has left the mempool, which a message reports; or it failed
		case entered.Before(r.oldest):
			b.old = append(b.old, r.ids[i])
		default:
			recent, at = append(recent, r.ids[i]), append(at, entered)
		}
	}
	txs, err := rpc.Transactions(ctx, recent)
	if err := b.collectFailed(recent, err); err != nil {
		return b, err
	}
	for i, tx := range txs {
		if tx != nil {
			b.received = append(b.received, fetched{tx: tx, at: at[i], pooled: true})
		}
	}
	return b, nil
}

// collectFailed collects the single IDs that could not be fetched. It returns an error of any other kind: that is about
// the node.
func (b *bodies) collectFailed(ids []chainhash.Hash, err error) error {
	partial, ok := errors.AsType[*bitcoind.PartialError](err)
	if !ok {
		return err
	}
	if b.failed == nil {
		b.failed = make(map[chainhash.Hash]error)
	}
	for i, why := range partial.Failed {
		b.failed[ids[i]] = why
	}
	return nil
}
