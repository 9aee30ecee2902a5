package peers

import (
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// keptHeaders is how many headers below the tip are kept: two periods of the difficulty, of which the checks need one. A
// longer reorganisation is rejected.
const keptHeaders = 2 * 2016

// maxHeaders bounds the headers of all branches. Each costs the work of a block, so there are few besides the best.
const maxHeaders = 4 * keptHeaders

// A header is a block's header in a chain. It implements blockchain.HeaderCtx.
type header struct {
	hash   chainhash.Hash
	height int32
	time   time.Time
	bits   uint32
	work   *big.Int // of the chain from the anchor to here
	parent *header  // nil: the anchor, or no longer kept
}

func (h *header) Height() int32    { return h.height }
func (h *header) Bits() uint32     { return h.bits }
func (h *header) Timestamp() int64 { return h.time.Unix() }

func (h *header) Parent() blockchain.HeaderCtx {
	if h.parent == nil {
		return nil // not a nil *header
	}
	return h.parent
}

func (h *header) RelativeAncestorCtx(distance int32) blockchain.HeaderCtx {
	for ; h != nil && distance > 0; distance-- {
		h = h.parent
	}
	if h == nil {
		return nil
	}
	return h
}

// A chain is the tree of headers above an anchor. Its best branch is the one with the most work. It is for one goroutine.
type chain struct {
	params  *chaincfg.Params
	headers map[chainhash.Hash]*header
	tip     *header // of the best branch
	clock   blockchain.MedianTimeSource
}

func newChain(params *chaincfg.Params, a anchor) *chain {
	first := &header{hash: a.hash, height: a.height, time: a.time, bits: a.bits, work: new(big.Int)}
	return &chain{
		params: params, headers: map[chainhash.Hash]*header{first.hash: first}, tip: first,
		clock: blockchain.NewMedianTime(), // this machine's, as no peer adds a sample
	}
}

// The errors of add.
var (
	errUnlinked = errors.New("a header does not follow a known one")
	errHeader   = errors.New("an invalid header")
)

// add adds headers, each of which follows the one before. It returns those that are new. An error is about the first header
// that is not added; a peer that sent it follows other rules, or lies.
func (c *chain) add(headers []*wire.BlockHeader) (added []*header, err error) {
	defer c.prune()
	for _, wired := range headers {
		hash := wired.BlockHash()
		if _, known := c.headers[hash]; known {
			continue
		}
		parent := c.headers[wired.PrevBlock]
		if parent == nil {
			return added, fmt.Errorf("%w: %v", errUnlinked, hash)
		}
		if err := c.check(wired, parent); err != nil {
			return added, fmt.Errorf("%w at height %d: %w", errHeader, parent.height+1, err)
		}
		if len(c.headers) >= maxHeaders {
			return added, fmt.Errorf("%w: too many branches", errHeader)
		}
		h := &header{
			hash: hash, height: parent.height + 1, time: wired.Timestamp, bits: wired.Bits, parent: parent,
			work: new(big.Int).Add(parent.work, blockchain.CalcWork(wired.Bits)),
		}
		c.headers[hash] = h
		added = append(added, h)
		if h.work.Cmp(c.tip.work) > 0 {
			c.tip = h
		}
		if len(c.headers) >= maxHeaders-wire.MaxBlockHeadersPerMsg {
			c.prune()
		}
	}
	return added, nil
}

// check checks a header's work, difficulty and time by btcd's rules.
func (c *chain) check(wired *wire.BlockHeader, parent *header) error {
	if err := blockchain.CheckBlockHeaderSanity(wired, c.params.PowLimit, c.clock, blockchain.BFNone); err != nil {
		return err
	}
	if c.periodIsKnown(parent) {
		return blockchain.CheckBlockHeaderContext(wired, parent, blockchain.BFNone, c, true)
	}
	// The first change of the difficulty above the anchor depends on a header below it. It is at most fourfold.
	most := new(big.Int).Mul(blockchain.CompactToBig(parent.bits), big.NewInt(c.params.RetargetAdjustmentFactor))
	if target := blockchain.CompactToBig(wired.Bits); target.Cmp(most) > 0 {
		return fmt.Errorf("bits %08x after %08x are over %d times easier", wired.Bits, parent.bits, c.params.RetargetAdjustmentFactor)
	}
	return nil
}

// periodIsKnown reports whether the headers that the next difficulty depends on are kept.
func (c *chain) periodIsKnown(parent *header) bool {
	changes := (parent.height+1)%c.BlocksPerRetarget() == 0
	return !changes || c.params.PoWNoRetargeting || parent.RelativeAncestorCtx(c.BlocksPerRetarget()-1) != nil
}

// prune drops the headers that are too far below the tip.
func (c *chain) prune() {
	lowest := c.tip.height - keptHeaders
	if len(c.headers) <= keptHeaders+wire.MaxBlockHeadersPerMsg {
		return
	}
	for hash, h := range c.headers {
		switch {
		case h.height < lowest:
			delete(c.headers, hash)
		case h.height == lowest:
			h.parent = nil
		}
	}
}

// locator returns hashes of the best branch from the tip down, by which a peer finds the last common block.
func (c *chain) locator() (hashes blockchain.BlockLocator) {
	step := 1
	for h := c.tip; h != nil; {
		hashes = append(hashes, &h.hash)
		if len(hashes) > 10 {
			step *= 2
		}
		var last *header
		for range step {
			last, h = h, h.parent
			if h == nil {
				break
			}
		}
		if h == nil && last != nil && last.hash != *hashes[len(hashes)-1] {
			hashes = append(hashes, &last.hash)
		}
	}
	return hashes
}

// since returns the headers of the best branch that are not older than a time, newest first.
func (c *chain) since(t time.Time) (headers []*header) {
	for h := c.tip; h != nil && !h.time.Before(t); h = h.parent {
		headers = append(headers, h)
	}
	return headers
}

// contains reports whether a block is in the best branch.
func (c *chain) contains(h *header) bool {
	ancestor := c.tip.RelativeAncestorCtx(c.tip.height - h.height)
	return h.height <= c.tip.height && ancestor == blockchain.HeaderCtx(h)
}

// The methods below are those of blockchain.ChainCtx.

func (c *chain) ChainParams() *chaincfg.Params { return c.params }

func (c *chain) BlocksPerRetarget() int32 {
	return int32(c.params.TargetTimespan / c.params.TargetTimePerBlock)
}

func (c *chain) MinRetargetTimespan() int64 {
	return int64(c.params.TargetTimespan/time.Second) / c.params.RetargetAdjustmentFactor
}

func (c *chain) MaxRetargetTimespan() int64 {
	return int64(c.params.TargetTimespan/time.Second) * c.params.RetargetAdjustmentFactor
}

func (c *chain) VerifyCheckpoint(int32, *chainhash.Hash) bool { return true }

func (c *chain) FindPreviousCheckpoint() (blockchain.HeaderCtx, error) { return nil, nil }
