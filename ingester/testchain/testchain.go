// Package testchain makes up chains of blocks at known prices, for tests of what reads a chain.
package testchain

import (
	"bytes"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/payment"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
	"sightglass/ingester/txfile"
)

// A Chain is a chain of blocks.
type Chain struct {
	First  int64 // height
	Blocks []*wire.MsgBlock
	Prices []float64 // true ones, in USD
}

// New returns a chain of blocks, ten minutes apart on average, up to a time. The amounts are those of a real block,
// drawn at random and scaled to a price that wanders by 4 % a day.
func New(t testing.TB, seed uint64, n, payments int, end time.Time) *Chain {
	t.Helper()
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	amounts := slices.Concat(payment.All(file.Transactions)...)
	c := &Chain{First: 800_000}
	rng := rand.New(rand.NewPCG(seed, 1))
	gaps := make([]time.Duration, n)
	at := end
	for i := range gaps {
		gaps[i] = time.Duration((60 + rng.ExpFloat64()*540) * float64(time.Second))
		at = at.Add(-gaps[i])
	}
	usd := testblock.Price574200
	for _, gap := range gaps {
		at = at.Add(gap)
		usd *= math.Exp(rng.NormFloat64() * 0.04 * math.Sqrt(gap.Hours()/24))
		c.Add(t, at, usd, func(b *wire.MsgBlock) {
			for range payments {
				a := float64(amounts[rng.IntN(len(amounts))]) * testblock.Price574200 / usd
				tx := wire.NewMsgTx(2)
				tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{Index: rng.Uint32()}, nil, wire.TxWitness{make([]byte, 71), make([]byte, 33)}))
				tx.AddTxOut(wire.NewTxOut(int64(a), append([]byte{0, 20}, make([]byte, 20)...)))
				_ = b.AddTransaction(tx)
			}
		})
	}
	return c
}

// Add adds a block, with a coinbase that states its height.
func (c *Chain) Add(t testing.TB, at time.Time, usd float64, fill func(*wire.MsgBlock)) {
	t.Helper()
	b := &wire.MsgBlock{Header: wire.BlockHeader{Version: 4, Timestamp: time.Unix(at.Unix(), 0)}}
	if n := len(c.Blocks); n > 0 {
		b.Header.PrevBlock = c.Blocks[n-1].BlockHash()
	} else {
		b.Header.PrevBlock = chainhash.Hash{1}
	}
	height, err := txscript.NewScriptBuilder().AddInt64(c.First + int64(len(c.Blocks))).AddInt64(1).Script()
	if err != nil {
		t.Fatal(err)
	}
	coinbase := wire.NewMsgTx(2)
	coinbase.AddTxIn(wire.NewTxIn(&wire.OutPoint{Index: wire.MaxPrevOutIndex}, height, nil))
	coinbase.AddTxOut(wire.NewTxOut(3_125_000_000, []byte{txscript.OP_TRUE}))
	_ = b.AddTransaction(coinbase)
	fill(b)
	c.Blocks, c.Prices = append(c.Blocks, b), append(c.Prices, usd)
}

// Tip returns the height of the last block.
func (c *Chain) Tip() int64 { return c.First + int64(len(c.Blocks)) - 1 }

// PriceAt returns the true price at a height.
func (c *Chain) PriceAt(height int64) float64 { return c.Prices[height-c.First] }

// A Node serves a chain over RPC, and is a client of itself.
type Node struct {
	*replay.Node
	Client *bitcoind.Client
}

// Serve serves the first n blocks; Mine serves one more.
func (c *Chain) Serve(t testing.TB, n int) *Node {
	t.Helper()
	start := c.Blocks[0].Header.Timestamp
	var lines []transcript.Line
	for i, b := range c.Blocks {
		var raw bytes.Buffer
		if err := b.Serialize(&raw); err != nil {
			t.Fatal(err)
		}
		at := b.Header.Timestamp.Sub(start).Seconds()
		hash := b.BlockHash()
		slices.Reverse(hash[:])
		lines = append(lines,
			transcript.Line{T: at, Topic: transcript.TopicRawBlock, Body: raw.Bytes(), Counter: uint32(i)},
			transcript.Line{T: at, Topic: transcript.TopicSequence, Body: append(hash[:], 'C'), Counter: uint32(i)})
	}
	node, err := replay.NewNode(replay.NodeOptions{
		Endpoint: "tcp://127.0.0.1:*", RPCListen: "127.0.0.1:0", Start: start, Speed: 1, Log: slog.New(slog.DiscardHandler),
	}, lines)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	client, err := bitcoind.New(bitcoind.Options{URL: node.RPCURL(), User: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	served := &Node{Node: node, Client: client}
	for range n {
		served.Mine(t)
	}
	return served
}

// Mine serves one more block.
func (n *Node) Mine(t testing.TB) {
	t.Helper()
	for range 2 {
		if _, ok, err := n.Step(replay.Deliver); !ok || err != nil {
			t.Fatalf("got %v, %v, want a block", ok, err)
		}
	}
}
