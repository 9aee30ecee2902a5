package life

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/replay"
)

// began is when a life's T was 0.
var began = time.Unix(1_700_000_000, 0)

// outpoint is one that nothing spends yet.
func (l *life) outpoint() wire.OutPoint {
	l.made++
	var o wire.OutPoint
	binary.LittleEndian.PutUint64(o.Hash[:], l.made)
	binary.LittleEndian.PutUint64(o.Hash[8:], l.Uint64())
	return o
}

// newTx makes a transaction of a few outputs; half of them have a witness.
func (l *life) newTx(inputs ...wire.OutPoint) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	for _, in := range inputs {
		tx.AddTxIn(wire.NewTxIn(&in, nil, nil))
	}
	if l.IntN(2) == 0 {
		tx.TxIn[0].Witness = wire.TxWitness{make([]byte, 71), make([]byte, 33)}
	}
	for range 1 + l.IntN(3) {
		script := append([]byte{0, 20}, make([]byte, 20)...) // P2WPKH
		binary.LittleEndian.PutUint64(script[2:], l.Uint64())
		tx.AddTxOut(wire.NewTxOut(1000+l.Int64N(1e8), script))
	}
	return tx
}

// mine puts a new block on the chain, without telling: of the mempool, of transactions that nobody saw before, of some
// that contradict the mempool, and of some that were in blocks which left.
func (l *life) mine(left ...*block) *block {
	b := &block{height: firstHeight + len(l.chain)}
	for _, tx := range l.pool {
		if l.IntN(3) == 0 {
			l.include(b, tx)
		}
	}
	for range l.IntN(3) {
		l.include(b, l.newTx(l.outpoint()))
	}
	for _, tx := range l.some(min(len(l.pool), l.IntN(3))) {
		l.include(b, l.newTx(tx.TxIn[0].PreviousOutPoint))
	}
	for _, old := range left {
		for _, tx := range old.txs[1:] {
			if l.IntN(2) == 0 {
				l.include(b, tx)
			}
		}
	}
	l.Shuffle(len(b.txs), func(i, j int) { b.txs[i], b.txs[j] = b.txs[j], b.txs[i] })
	return l.seal(b)
}

// mineOf puts a new block on the chain, without telling: of these transactions, and of so many that nobody saw before.
func (l *life) mineOf(txs []*wire.MsgTx, unseen int) *block {
	b := &block{height: firstHeight + len(l.chain), txs: slices.Clone(txs)}
	for range unseen {
		b.txs = append(b.txs, l.newTx(l.outpoint()))
	}
	return l.seal(b)
}

// seal gives a block its coinbase and its header, and puts it on the chain.
func (l *life) seal(b *block) *block {
	b.txs = append([]*wire.MsgTx{l.coinbase(b.height)}, b.txs...)
	b.header = l.header(b)
	l.chain = append(l.chain, b)
	return b
}

// include puts tx in the block, unless the chain has it already or what it spends is spent.
func (l *life) include(b *block, tx *wire.MsgTx) {
	if !inAny(tx, l.chain) && !inAny(tx, []*block{b}) {
		b.txs = append(b.txs, tx)
	}
}

func (l *life) coinbase(height int) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	script := []byte{3, byte(height), byte(height >> 8), byte(height >> 16)}
	script = binary.LittleEndian.AppendUint64(script, l.Uint64())
	tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{Index: wire.MaxPrevOutIndex}, script, wire.TxWitness{make([]byte, 32)}))
	tx.AddTxOut(wire.NewTxOut(50e8, []byte{0x51}))
	return tx
}

func (l *life) header(b *block) wire.BlockHeader {
	var txids []chainhash.Hash
	for _, tx := range b.txs {
		txids = append(txids, tx.TxHash())
	}
	h := wire.BlockHeader{
		Version:    0x20000000,
		MerkleRoot: replay.MerkleRoot(txids),
		Timestamp:  began.Add(time.Duration(l.t) * time.Second),
		Bits:       0x207fffff,
		Nonce:      l.Uint32(),
	}
	if len(l.chain) > 0 {
		h.PrevBlock = l.chain[len(l.chain)-1].header.BlockHash()
	}
	return h
}

func serialise(tx *wire.MsgTx) []byte {
	var raw bytes.Buffer
	if err := tx.Serialize(&raw); err != nil {
		panic(err) // to memory
	}
	return raw.Bytes()
}
