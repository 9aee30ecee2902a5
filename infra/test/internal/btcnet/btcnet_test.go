package btcnet

import (
	"slices"
	"testing"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

func TestNet_TenNodesShareChainAndPayments(t *testing.T) {
	b := Start(t, 10)
	if got, want := len(b.Addrs()), 10; got != want {
		t.Errorf("got %d addresses, want %d", got, want)
	}
	for i := range 10 {
		if got, least := len(b.Peers(t, i)), 3; got < least {
			t.Errorf("got %d connections of node %d, want %d or more", got, i, least)
		}
	}
	tx := b.Pay(t, 12_345, 67_890)
	if got, want := len(tx.TxOut), 3; got != want {
		t.Errorf("got %d outputs, want %d", got, want)
	}
	b.Everywhere(t, tx)
	mined := b.Mine(t, 3, 1)
	b.Synced(t)
	for i := range 10 {
		if hash, height := b.Best(t, i); hash != mined[0] || height != segwitHeight+2 {
			t.Errorf("got block %v at height %d, want %v at %d", hash, height, mined[0], segwitHeight+2)
		}
		if left := b.Mempool(t, i); len(left) > 0 {
			t.Errorf("got %d transactions in node %d's mempool, want 0", len(left), i)
		}
		if complaints := b.Complaints(i); len(complaints) > 0 {
			t.Errorf("got complaints of node %d, want none: %q", i, complaints)
		}
	}
	if block := b.Block(t, 0, mined[0]); !contains(block, tx.TxHash()) {
		t.Errorf("got a block without %v", tx.TxHash())
	}
}

func TestNet_ReorganisationReturnsPayments(t *testing.T) {
	b := Start(t, 4)
	_, before := b.Best(t, 0)
	tx := b.Pay(t, 50_000)
	b.Everywhere(t, tx)
	old := b.Mine(t, 0, 2)
	b.Synced(t)
	added := b.Reorganise(t, 2, 2)
	if got, want := len(added), 3; got != want {
		t.Fatalf("got %d blocks, want %d", got, want)
	}
	b.Synced(t)
	for i := range 4 {
		if hash, height := b.Best(t, i); hash != added[2] || height != before+3 {
			t.Errorf("got block %v at height %d, want %v at %d", hash, height, added[2], before+3)
		}
	}
	if slices.Contains(added, old[0]) || slices.Contains(added, old[1]) {
		t.Errorf("got %v, want no block of %v", added, old)
	}
	b.Everywhere(t, tx)
	again := b.Mine(t, 1, 1)
	b.Synced(t)
	if !contains(b.Block(t, 3, again[0]), tx.TxHash()) {
		t.Errorf("got no %v in the block after the reorganisation", tx.TxHash())
	}
}

func TestNet_KilledNodeCatchesUp(t *testing.T) {
	b := Start(t, 4)
	addr := b.Addrs()[1]
	b.Kill(t, 1)
	mined := b.Mine(t, 0, 3)
	b.Synced(t) // the other three
	lost := b.Pay(t, 40_000)
	b.Everywhere(t, lost)
	b.Restart(t, 1)
	b.Synced(t)
	if got := b.Addrs()[1]; got != addr {
		t.Errorf("got the address %s, want %s", got, addr)
	}
	if hash, _ := b.Best(t, 1); hash != mined[2] {
		t.Errorf("got block %v, want %v", hash, mined[2])
	}
	if got := b.Mempool(t, 1); len(got) > 0 {
		t.Errorf("got %d transactions in the mempool of a restarted node, want 0", len(got))
	}
	b.Everywhere(t, b.Pay(t, 40_000))
}

func TestNet_SeparatedNodeCatchesUp(t *testing.T) {
	b := Start(t, 5)
	b.Separate(t, 2)
	if got := len(b.Peers(t, 2)); got > 0 {
		t.Fatalf("got %d connections, want 0", got)
	}
	alone := b.Mine(t, 2, 1)
	mined := b.Mine(t, 0, 2)
	if hash, _ := b.Best(t, 2); hash != alone[0] {
		t.Errorf("got block %v of the separated node, want %v", hash, alone[0])
	}
	b.Rejoin(t, 2)
	b.Synced(t)
	if hash, _ := b.Best(t, 2); hash != mined[1] {
		t.Errorf("got block %v, want %v", hash, mined[1])
	}
}

func TestNet_PaymentsLikeThoseOfRealBlock(t *testing.T) {
	b := Start(t, 4)
	block := RealBlock(t)[1:] // without the coinbase
	coins := b.Coins()
	sent := b.PayLike(t, block[:200], 1000)
	if got, want := len(sent), 200; got != want {
		t.Fatalf("got %d payments, want %d", got, want)
	}
	if got, want := b.Coins(), coins-200; got != want {
		t.Errorf("got %d coins left, want %d", got, want)
	}
	b.Everywhere(t, sent...)
	for i, tx := range sent {
		like := block[i]
		if got, most := len(tx.TxOut), len(like.TxOut)+1; got > most {
			t.Errorf("got %d outputs, want %d at most", got, most)
		}
		var total int64
		for j, out := range like.TxOut {
			total += min(out.Value, int64(MaxAmount))
			if total > MaxPaid {
				break
			}
			if got, want := tx.TxOut[j].Value, min(out.Value, int64(MaxAmount)); got != want {
				t.Errorf("got %v, want %v", btcutil.Amount(got), btcutil.Amount(want))
			}
		}
	}
	b.Mine(t, 0, 1)
	b.Synced(t)
	if got := b.Mempool(t, 3); len(got) > 0 {
		t.Errorf("got %d transactions that were not mined, want 0", len(got))
	}
}

func TestNet_PaysWhileNodeRestarts(t *testing.T) {
	b := Start(t, 4)
	var sent []*wire.MsgTx
	done := make(chan struct{})
	go func() {
		defer close(done)
		sent = b.PayLike(t, RealBlock(t)[1:301], 200)
	}()
	b.Kill(t, 3)
	b.Mine(t, 0, 1)
	b.Restart(t, 3)
	<-done
	b.Synced(t)
	if got, want := len(sent), 300; got != want {
		t.Errorf("got %d payments, want %d", got, want)
	}
}

// contains reports whether a block has a transaction.
func contains(block *wire.MsgBlock, id chainhash.Hash) bool {
	return slices.ContainsFunc(block.Transactions, func(tx *wire.MsgTx) bool { return tx.TxHash() == id })
}
