package peers

import (
	"errors"
	"time"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/wire"
)

// inventory applies announcements.
func (n *Network) inventory(l *link, m *wire.MsgInv, now time.Time) {
	if !l.ready {
		return
	}
	if !l.allowed.AllowN(now, len(m.InvList)) {
		n.drop(l, "flood", now)
		return
	}
	for _, inv := range m.InvList {
		switch inv.Type {
		case wire.InvTypeTx, wire.InvTypeWitnessTx:
			n.tracker.announce(l.id, inv.Hash, now)
		case wire.InvTypeBlock, wire.InvTypeWitnessBlock:
			if _, known := n.chain.headers[inv.Hash]; !known {
				n.askHeaders(l, now)
			}
		}
	}
}

func (n *Network) transaction(l *link, m *wire.MsgTx, now time.Time) {
	if l.ready && !n.tracker.body(l.id, m, now) && n.tracker.peers[l.id].unrequested > maxUnrequested {
		n.drop(l, "unrequested", now)
	}
}

// maxUnrequested is how many transactions a peer may send without a request: a response that comes after the request has
// ended is one.
const maxUnrequested = 100

func (n *Network) notFound(l *link, m *wire.MsgNotFound, now time.Time) {
	if !l.ready {
		return
	}
	for _, inv := range m.InvList {
		n.tracker.notFound(l.id, inv.Hash, now)
		if w := n.wanted[inv.Hash]; w != nil && w.from == l.id {
			w.at = time.Time{}
		}
	}
}

// askHeaders asks a peer for the headers that follow the best branch.
func (n *Network) askHeaders(l *link, now time.Time) {
	l.asked = now
	ask := wire.NewMsgGetHeaders() // PushGetHeadersMsg would omit a second one with the same first hash, as after an inv
	ask.ProtocolVersion = l.peer.ProtocolVersion()
	ask.BlockLocatorHashes = n.chain.locator()
	l.peer.QueueMessage(ask, nil)
}

func (n *Network) headers(l *link, m *wire.MsgHeaders, now time.Time) {
	if !l.ready {
		return
	}
	before := n.chain.tip
	_, err := n.chain.add(m.Headers)
	switch {
	case errors.Is(err, errUnlinked) && now.Sub(l.asked) > unlinkedInterval:
		n.askHeaders(l, now) // it has announced a block whose parents are missing here
	case errors.Is(err, errUnlinked):
	case tooNew(err):
		n.clock.Do(func() {
			n.opts.Log.Warn("a peer's newest header is over two hours ahead of this machine's clock: is the clock right?", "addr", l.addr, "err", err)
		})
	case err != nil:
		n.opts.Log.Warn("a peer's headers are invalid", "addr", l.addr, "err", err)
		n.drop(l, "headers", now)
		return
	case len(m.Headers) == wire.MaxBlockHeadersPerMsg:
		n.askHeaders(l, now)
	}
	if tip := n.chain.tip; tip != before {
		n.metrics.height.Set(float64(tip.height))
		n.opts.Log.Debug("new tip", "height", tip.height, "hash", tip.hash)
		n.fetchBlocks(now)
	}
}

// tooNew reports whether a header is invalid only by this machine's clock. Then no peer is to blame.
func tooNew(err error) bool {
	var rule blockchain.RuleError
	return errors.As(err, &rule) && rule.ErrorCode == blockchain.ErrTimeTooNew
}

// unlinkedInterval is how often a peer's unlinked headers cause a request.
const unlinkedInterval = 10 * time.Second

// fetchBlocks asks for the blocks of the window, newest first, a few at a time.
func (n *Network) fetchBlocks(now time.Time) {
	if !n.opts.PeersBlocks {
		return
	}
	oldest := now.Add(-n.opts.Window)
	for hash, at := range n.fetched {
		if at.Before(oldest) {
			delete(n.fetched, hash)
		}
	}
	for hash, w := range n.wanted {
		if w.header.time.Before(oldest) || !n.chain.contains(w.header) {
			delete(n.wanted, hash)
		}
	}
	for _, h := range n.chain.since(oldest) {
		if _, done := n.fetched[h.hash]; done {
			continue
		}
		w := n.wanted[h.hash]
		switch {
		case w == nil && len(n.wanted) >= maxBlocksAtOnce:
			continue // older ones may have to be requested again, or none would ever be
		case w == nil:
			w = &wanted{header: h}
			n.wanted[h.hash] = w
		case now.Sub(w.at) < blockTimeout:
			continue
		}
		n.fetchBlock(w, now)
	}
}

// fetchBlock asks the next peer for a block: one that was not asked, or any of them after all were.
func (n *Network) fetchBlock(w *wanted, now time.Time) {
	for range 2 {
		for _, l := range n.links {
			if l == nil || w.tried&(1<<l.id) != 0 {
				continue
			}
			w.from, w.at = l.id, now
			w.tried |= 1 << l.id
			get := wire.NewMsgGetDataSizeHint(1)
			get.InvList = append(get.InvList, wire.NewInvVect(wire.InvTypeWitnessBlock, &w.header.hash))
			l.peer.QueueMessage(get, nil)
			return
		}
		w.tried = 0
	}
}

// block applies a block that was asked for, if it matches its header.
func (n *Network) block(l *link, m *wire.MsgBlock, now time.Time) {
	w := n.wanted[m.BlockHash()]
	if !l.ready || w == nil || w.from != l.id {
		return
	}
	block := btcutil.NewBlock(m)
	err := blockchain.CheckBlockSanity(block, n.params.PowLimit, n.chain.clock)
	if err == nil {
		err = blockchain.ValidateWitnessCommitment(block)
	}
	if err != nil {
		n.metrics.badBlocks.Inc()
		n.opts.Log.Warn("a peer's block does not match its header", "addr", l.addr, "height", w.header.height, "err", err)
		w.at = time.Time{}
		n.drop(l, "block", now)
		return
	}
	delete(n.wanted, w.header.hash)
	n.fetched[w.header.hash] = w.header.time
	n.metrics.blocks.Inc()
	n.tracker.mined(m.Transactions[1:], earlier(w.header.time, now), now) // without the coinbase, which is no payment
	n.fetchBlocks(now)
}
