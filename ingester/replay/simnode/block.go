package simnode

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/replay"
)

// epoch is the time of T = 0.
var epoch = time.Unix(1_700_000_000, 0)

// outpoint returns an output that nothing spends yet.
func (s *state) outpoint() wire.OutPoint {
	s.made++
	var o wire.OutPoint
	binary.LittleEndian.PutUint64(o.Hash[:], s.made)
	binary.LittleEndian.PutUint64(o.Hash[8:], s.Uint64())
	return o
}

// newTx returns a transaction of a few outputs; half of them have a witness.
func (s *state) newTx(inputs ...wire.OutPoint) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	for _, in := range inputs {
		tx.AddTxIn(wire.NewTxIn(&in, nil, nil))
	}
	if s.IntN(2) == 0 {
		tx.TxIn[0].Witness = wire.TxWitness{make([]byte, 71), make([]byte, 33)}
	}
	for range 1 + s.IntN(3) {
		script := append([]byte{0, 20}, make([]byte, 20)...) // P2WPKH
		binary.LittleEndian.PutUint64(script[2:], s.Uint64())
		tx.AddTxOut(wire.NewTxOut(1000+s.Int64N(1e8), script))
	}
	return tx
}

// mine adds a new block to the chain, without publishing it: of the mempool, of new transactions, of some that conflict
// with the mempool, and of some from disconnected blocks.
func (s *state) mine(left ...*block) *block {
	b := &block{height: firstHeight + len(s.chain)}
	for _, tx := range s.pool {
		if s.IntN(3) == 0 {
			s.include(b, tx)
		}
	}
	for range s.IntN(3) {
		s.include(b, s.newTx(s.outpoint()))
	}
	for _, tx := range s.pick(min(len(s.pool), s.IntN(3))) {
		s.include(b, s.newTx(tx.TxIn[0].PreviousOutPoint))
	}
	for _, old := range left {
		for _, tx := range old.txs[1:] {
			if s.IntN(2) == 0 {
				s.include(b, tx)
			}
		}
	}
	s.Shuffle(len(b.txs), func(i, j int) { b.txs[i], b.txs[j] = b.txs[j], b.txs[i] })
	return s.seal(b)
}

// mineOf adds a new block to the chain, without publishing it: of these transactions, and of unseen new ones.
func (s *state) mineOf(txs []*wire.MsgTx, unseen int) *block {
	b := &block{height: firstHeight + len(s.chain), txs: slices.Clone(txs)}
	for range unseen {
		b.txs = append(b.txs, s.newTx(s.outpoint()))
	}
	return s.seal(b)
}

// seal adds a block's coinbase and header, and adds it to the chain.
func (s *state) seal(b *block) *block {
	b.txs = append([]*wire.MsgTx{s.coinbase(b.height)}, b.txs...)
	b.header = s.header(b)
	s.chain = append(s.chain, b)
	return b
}

// include adds tx to the block, unless the chain has it already or its inputs are spent.
func (s *state) include(b *block, tx *wire.MsgTx) {
	if !inAny(tx, s.chain) && !inAny(tx, []*block{b}) {
		b.txs = append(b.txs, tx)
	}
}

func (s *state) coinbase(height int) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	script := []byte{3, byte(height), byte(height >> 8), byte(height >> 16)}
	script = binary.LittleEndian.AppendUint64(script, s.Uint64())
	tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{Index: wire.MaxPrevOutIndex}, script, wire.TxWitness{make([]byte, 32)}))
	tx.AddTxOut(wire.NewTxOut(50e8, []byte{0x51}))
	return tx
}

func (s *state) header(b *block) wire.BlockHeader {
	var txids []chainhash.Hash
	for _, tx := range b.txs {
		txids = append(txids, tx.TxHash())
	}
	h := wire.BlockHeader{
		Version:    0x20000000,
		MerkleRoot: replay.MerkleRoot(txids),
		Timestamp:  epoch.Add(time.Duration(s.t) * time.Second),
		Bits:       0x207fffff,
		Nonce:      s.Uint32(),
	}
	if len(s.chain) > 0 {
		h.PrevBlock = s.chain[len(s.chain)-1].header.BlockHash()
	}
	return h
}

func serialise(tx *wire.MsgTx) []byte {
	var raw bytes.Buffer
	if err := tx.Serialize(&raw); err != nil {
		panic(err) // writes to memory do not fail
	}
	return raw.Bytes()
}
