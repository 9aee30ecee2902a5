package btcnet

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
	"sightglass/ingester/testblock"
)

// A wallet has one key, to which all nodes mine, and confirmed coins of a few sizes. It spends a coin once, and does
// not use change, so a payment never depends on an unconfirmed one.
type wallet struct {
	key     *btcec.PrivateKey
	address btcutil.Address
	script  []byte

	mu    sync.Mutex
	coins []coin // by value, ascending
}

type coin struct {
	at    wire.OutPoint
	value btcutil.Amount
}

const (
	subsidy = 50 * btcutil.SatoshiPerBitcoin // of a block

	// MaxPaid is the most that one payment may have in its outputs.
	MaxPaid = 4.9 * btcutil.SatoshiPerBitcoin

	// MaxAmount is the largest amount that PayLike copies. It is round in bitcoin, so that it is no evidence for a price.
	MaxAmount btcutil.Amount = 0.5 * btcutil.SatoshiPerBitcoin

	feeRate = 5 // satoshi per byte, above btcd's minimum of 1
)

// coinSizes are the coins into which each mined coin is divided.
var coinSizes = []struct {
	count int
	value btcutil.Amount
}{
	{4, 5 * btcutil.SatoshiPerBitcoin},
	{20, 1 * btcutil.SatoshiPerBitcoin},
	{20, 0.4 * btcutil.SatoshiPerBitcoin},
	{19, 0.1 * btcutil.SatoshiPerBitcoin}, // the rest of 0.1 BTC pays the fee, and comes back as change
}

func newWallet(t testing.TB) *wallet {
	t.Helper()
	key, err := btcec.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	address, err := btcutil.NewAddressWitnessPubKeyHash(btcutil.Hash160(key.PubKey().SerializeCompressed()), params)
	if err != nil {
		t.Fatal(err)
	}
	script, err := txscript.PayToAddrScript(address)
	if err != nil {
		t.Fatal(err)
	}
	return &wallet{key: key, address: address, script: script}
}

// fund mines until segwit is active, and divides the coins that can be spent then.
func (w *wallet) fund(t testing.TB, b *Net) {
	t.Helper()
	mined := b.nodes[0].generate(t, segwitHeight)
	for _, hash := range mined[:segwitHeight-int(params.CoinbaseMaturity)] {
		coinbase := b.Block(t, 0, hash).Transactions[0]
		tx := wire.NewMsgTx(wire.TxVersion)
		for _, size := range coinSizes {
			for range size.count {
				tx.AddTxOut(wire.NewTxOut(int64(size.value), w.script))
			}
		}
		whole := coin{at: wire.OutPoint{Hash: coinbase.TxHash()}, value: btcutil.Amount(coinbase.TxOut[0].Value)}
		if err := w.sign(tx, whole); err != nil {
			t.Fatal(err)
		}
		if err := b.nodes[0].send(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		id := tx.TxHash()
		for i, out := range tx.TxOut {
			w.coins = append(w.coins, coin{wire.OutPoint{Hash: id, Index: uint32(i)}, btcutil.Amount(out.Value)})
		}
	}
	slices.SortFunc(w.coins, func(a, b coin) int { return cmp.Compare(a.value, b.value) })
	for len(b.Mempool(t, 0)) > 0 {
		b.Mine(t, 0, 1)
	}
}

// sign makes tx spend a coin: it adds the input, the change and the signature.
func (w *wallet) sign(tx *wire.MsgTx, c coin) error {
	change := wire.NewTxOut(0, w.script)
	tx.AddTxIn(wire.NewTxIn(&c.at, nil, nil))
	tx.AddTxOut(change)
	const witness = 110 // bytes of a signature and a key
	change.Value = int64(c.value) - paid(tx) - feeRate*int64(tx.SerializeSize()+witness)
	hashes := txscript.NewTxSigHashes(tx, txscript.NewCannedPrevOutputFetcher(w.script, int64(c.value)))
	proof, err := txscript.WitnessSignature(tx, hashes, 0, int64(c.value), w.script, txscript.SigHashAll, w.key, true)
	tx.TxIn[0].Witness = proof
	return err
}

// paid returns the sum of a transaction's outputs.
func paid(tx *wire.MsgTx) (sum int64) {
	for _, out := range tx.TxOut {
		sum += out.Value
	}
	return sum
}

// take removes the smallest coin that can pay for a transaction and its fee.
func (w *wallet) take(tx *wire.MsgTx) (c coin, ok bool) {
	const changeAndInput = 200 // bytes, at least
	const least = 1000         // satoshi, of change
	need := paid(tx) + feeRate*int64(tx.SerializeSize()+changeAndInput) + least
	w.mu.Lock()
	defer w.mu.Unlock()
	i, _ := slices.BinarySearchFunc(w.coins, btcutil.Amount(need), func(c coin, need btcutil.Amount) int {
		return cmp.Compare(c.value, need)
	})
	if i == len(w.coins) {
		return coin{}, false
	}
	c = w.coins[i]
	w.coins = slices.Delete(w.coins, i, i+1)
	return c, true
}

// Coins returns how many payments the wallet can still make.
func (b *Net) Coins() int {
	b.wallet.mu.Lock()
	defer b.wallet.mu.Unlock()
	return len(b.wallet.coins)
}

// Pay sends a transaction to a random node. It has an output for each amount, to new addresses, and change.
func (b *Net) Pay(t testing.TB, amounts ...btcutil.Amount) *wire.MsgTx {
	t.Helper()
	tx := wire.NewMsgTx(wire.TxVersion)
	for _, amount := range amounts {
		tx.AddTxOut(wire.NewTxOut(int64(amount), foreignScript()))
	}
	if err := b.pay(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	return tx
}

// RealBlock returns the transactions of the mainnet block 574200, coinbase first.
func RealBlock(t testing.TB) []*wire.MsgTx {
	t.Helper()
	raw, err := os.ReadFile(testblock.Path(t, testblock.Block574200))
	if err != nil {
		t.Fatal(err)
	}
	block, err := rawtx.DecodeBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	return block.Transactions
}

// PayLike sends a transaction for each one of a real block, at a rate (0: as fast as possible), and returns them. A
// transaction has the outputs of the real one, and change. Amounts above MaxAmount are cut to MaxAmount, and outputs
// are left out that would exceed MaxPaid in total. PayLike returns early when the test ends or no coin is left. It may
// run in a goroutine that the test waits for. A node that is killed may not have announced what was sent to it.
func (b *Net) PayLike(t testing.TB, block []*wire.MsgTx, perSecond float64) (sent []*wire.MsgTx) {
	t.Helper()
	var pace <-chan time.Time
	if perSecond > 0 {
		ticker := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
		defer ticker.Stop()
		pace = ticker.C
	}
	for _, like := range block {
		if pace != nil {
			select {
			case <-pace:
			case <-t.Context().Done():
				return sent
			}
		}
		tx := wire.NewMsgTx(wire.TxVersion)
		for _, out := range like.TxOut {
			value := min(out.Value, int64(MaxAmount))
			if paid(tx)+value <= MaxPaid {
				tx.AddTxOut(wire.NewTxOut(value, out.PkScript))
			}
		}
		if err := b.pay(t.Context(), tx); err != nil {
			if t.Context().Err() == nil {
				t.Errorf("payment %d: %v", len(sent), err)
			}
			return sent
		}
		sent = append(sent, tx)
	}
	return sent
}

// pay signs and sends a transaction that has its payments' outputs.
func (b *Net) pay(ctx context.Context, tx *wire.MsgTx) error {
	c, ok := b.wallet.take(tx)
	if !ok {
		return fmt.Errorf("no coin for %v; %d smaller ones are left", btcutil.Amount(paid(tx)), b.Coins())
	}
	if err := b.wallet.sign(tx, c); err != nil {
		return err
	}
	for {
		var synced []*node
		for _, n := range b.nodes {
			if n.synced.Load() && n.inNetwork() {
				synced = append(synced, n)
			}
		}
		if len(synced) == 0 {
			return errors.New("no node is running")
		}
		n := synced[mathrand.IntN(len(synced))]
		process, _ := n.current()
		if err := n.send(ctx, tx); err == nil || n.synced.Load() && process.Running() {
			return err
		} // killed meanwhile
	}
}

// send sends a transaction to the node.
func (n *node) send(ctx context.Context, tx *wire.MsgTx) error {
	var raw bytes.Buffer
	if err := tx.Serialize(&raw); err != nil {
		return err
	}
	return n.try(ctx, nil, "sendrawtransaction", hex.EncodeToString(raw.Bytes()))
}

// foreignScript returns the script of a random P2WPKH address, which nobody can spend.
func foreignScript() []byte {
	script := make([]byte, 22)
	rand.Read(script)
	script[0], script[1] = txscript.OP_0, txscript.OP_DATA_20
	return script
}
