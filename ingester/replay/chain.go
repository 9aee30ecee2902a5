package replay

import (
	"bytes"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// A block is what is known of one. The whole recording is scanned for blocks before playback; RPC returns a block once
// the node has announced it.
type block struct {
	hash      chainhash.Hash
	header    *wire.BlockHeader // nil: not in the recording
	height    int64             // unknown: not in the recording
	txids     []chainhash.Hash  // the coinbase first; nil: not in the recording
	whole     []byte            // its serialisation, if recorded
	announced bool              // it has connected or disconnected
	t         float64           // when it first did
}

const unknown = -1

// A chain is the active chain as far as the recording shows it.
type chain struct {
	blocks map[chainhash.Hash]*block
	active map[int64]chainhash.Hash // by height; may have holes
	tip    int64                    // its height; unknown: none yet
}

func newChain() chain {
	return chain{blocks: make(map[chainhash.Hash]*block), active: make(map[int64]chainhash.Hash), tip: unknown}
}

// block returns the block with the given hash, and creates it if necessary.
func (c *chain) block(hash chainhash.Hash) *block {
	b, ok := c.blocks[hash]
	if !ok {
		b = &block{hash: hash, height: unknown}
		c.blocks[hash] = b
	}
	return b
}

// setTip makes b the tip.
func (c *chain) setTip(b *block, t float64) {
	c.announce(b, t)
	c.tip = b.height
	c.active[c.tip] = b.hash
}

// connect adds b on top.
func (c *chain) connect(b *block, t float64) {
	c.announce(b, t)
	if b.height == unknown {
		b.height = c.tip + 1
	}
	c.tip = b.height
	c.active[c.tip] = b.hash
}

// disconnect removes b if it is the tip.
func (c *chain) disconnect(b *block, t float64) {
	c.announce(b, t)
	if b.height == unknown {
		b.height = c.tip
	}
	if c.tip != b.height || c.active[c.tip] != b.hash {
		return
	}
	delete(c.active, c.tip)
	c.tip--
	if b.header != nil {
		c.active[c.tip] = b.header.PrevBlock
	}
}

func (c *chain) announce(b *block, t float64) {
	if !b.announced {
		b.announced, b.t = true, t
	}
}

// confirmations returns what bitcoind does: -1 for a block that is not in the active chain.
func (c *chain) confirmations(b *block) int64 {
	if c.active[b.height] != b.hash || b.height > c.tip {
		return -1
	}
	return c.tip - b.height + 1
}

// headerOf returns b's header, or a plausible one with the time at if the recording has none.
func (c *chain) headerOf(b *block, at time.Time) wire.BlockHeader {
	if b.header != nil {
		return *b.header
	}
	return wire.BlockHeader{
		Version:    0x20000000, // no soft fork is signalled
		PrevBlock:  c.active[b.height-1],
		MerkleRoot: MerkleRoot(b.txids),
		Timestamp:  at,
		Bits:       0x207fffff, // the easiest target
	}
}

// MerkleRoot returns the root of the tree over a block's txids, as its header has it; zero if there are none.
func MerkleRoot(txids []chainhash.Hash) chainhash.Hash {
	if len(txids) == 0 {
		return chainhash.Hash{}
	}
	row := slices.Clone(txids)
	for len(row) > 1 {
		if len(row)%2 == 1 {
			row = append(row, row[len(row)-1])
		}
		for i := range len(row) / 2 {
			row[i] = chainhash.DoubleHashH(slices.Concat(row[2*i][:], row[2*i+1][:]))
		}
		row = row[:len(row)/2]
	}
	return row[0]
}

// coinbaseHeight returns the height at the start of a coinbase's script (BIP 34).
func coinbaseHeight(tx *wire.MsgTx) int64 {
	const op1, op16 = 0x51, 0x60
	script := tx.TxIn[0].SignatureScript
	switch {
	case len(script) == 0:
		return unknown
	case op1 <= script[0] && script[0] <= op16:
		return int64(script[0]) - op1 + 1
	case script[0] == 0 || script[0] > 4 || len(script) <= int(script[0]):
		return unknown
	}
	var height int64
	for i := int(script[0]); i > 0; i-- {
		height = height<<8 | int64(script[i])
	}
	return height
}

// raw returns a block's serialisation, or nil if the recording lacks a part of it: a made up header has another hash.
func (b *block) raw(bodies map[chainhash.Hash][]byte) []byte {
	if b.whole != nil || b.header == nil {
		return b.whole
	}
	var out bytes.Buffer
	_ = b.header.Serialize(&out) // writes to memory do not fail
	_ = wire.WriteVarInt(&out, 0, uint64(len(b.txids)))
	for _, id := range b.txids {
		body, ok := bodies[id]
		if !ok {
			return nil
		}
		out.Write(body)
	}
	return out.Bytes()
}
