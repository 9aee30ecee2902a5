// Package peers tests package ingester/peers in a network of real btcd nodes.
package peers

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/infra/test/internal/btcnet"
	"sightglass/infra/test/internal/programs"
	"sightglass/ingester/node"
	"sightglass/ingester/peers"
)

// A listener is a Network that runs, and the transactions that it counts.
type listener struct {
	*peers.Network
	metrics *prometheus.Registry

	mu     sync.Mutex
	seen   map[chainhash.Hash]node.Event // without those that are gone since
	events int
}

// listen runs a Network until the test ends.
func listen(t *testing.T, named []string, set func(*peers.Options)) *listener {
	t.Helper()
	o := peers.Options{
		Settings: peers.Settings{
			Peers: peers.List{On: true, Named: named}, PeersCount: 8, PeersQuorum: 3, PeersBlocks: true, PeersNetwork: "simnet",
		},
		Window: 3 * time.Hour, Version: "1.2.3",
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Retry: time.Second,
	}
	if set != nil {
		set(&o)
	}
	l := &listener{metrics: prometheus.NewRegistry(), seen: make(map[chainhash.Hash]node.Event)}
	l.Network = peers.New(o, peers.NewMetrics(l.metrics))
	ctx, cancel := context.WithCancel(context.Background())
	events := make(chan node.Event)
	var running sync.WaitGroup
	running.Go(func() {
		if err := l.Run(ctx, events); err != nil {
			t.Error(err)
		}
		close(events)
	})
	running.Go(func() {
		for e := range events {
			l.mu.Lock()
			l.events++
			if e.Kind == node.Gone {
				delete(l.seen, e.ID)
			} else {
				l.seen[e.ID] = e
			}
			l.mu.Unlock()
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return l
}

// has reports whether all transactions are counted.
func (l *listener) has(ids ...chainhash.Hash) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if _, ok := l.seen[id]; !ok {
			return false
		}
	}
	return true
}

func (l *listener) all() map[chainhash.Hash]node.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.seen)
}

// TestNetwork_EqualsNodes: eight of ten nodes are peers. What counts is what the nodes' mempools and blocks have, through
// payments, blocks, a reorganisation, and the end and return of nodes.
func TestNetwork_EqualsNodes(t *testing.T) {
	net := btcnet.Start(t, 10)
	l := listen(t, net.Addrs(), nil)
	programs.Until(t, "eight peers", func() bool { return l.Connected() == 8 })

	var ids []chainhash.Hash
	for range 60 {
		ids = append(ids, net.Pay(t, 50_000, 70_000).TxHash())
	}
	programs.Until(t, "every payment to be counted", func() bool { return l.has(ids...) })
	net.Mine(t, 0, 2)
	for range 20 {
		ids = append(ids, net.Pay(t, 90_000).TxHash())
	}
	programs.Until(t, "the payments after a block", func() bool { return l.has(ids...) })

	for i := range 3 {
		net.Kill(t, i)
	}
	programs.Until(t, "eight peers again: seven are left, and they suffice", func() bool { return l.Connected() == 7 })
	for range 20 {
		ids = append(ids, net.Pay(t, 40_000).TxHash())
	}
	programs.Until(t, "the payments with fewer peers", func() bool { return l.has(ids...) })
	for i := range 3 {
		net.Restart(t, i)
	}
	programs.Until(t, "eight peers after their return", func() bool { return l.Connected() == 8 })
	net.Reorganise(t, 4, 2)
	ids = append(ids, net.Pay(t, 30_000).TxHash())
	programs.Until(t, "a payment after a reorganisation", func() bool { return l.has(ids...) })

	if complaints := net.Complaints(steady); len(complaints) > 0 {
		t.Errorf("got complaints of a node about its peers, want none: %q", complaints)
	}
	want := transactionsOf(t, net, steady)
	programs.Until(t, "every transaction of the nodes", func() bool { return l.has(want...) })
	if got := l.all(); len(got) != len(want) {
		t.Errorf("got %d transactions, want the %d of the nodes' blocks and mempools", len(got), len(want))
	}
}

// steady is a node that is never killed: btcd does not keep its mempool over a restart.
const steady = 5

// transactionsOf returns those of all blocks and of the mempool of a node.
func transactionsOf(t *testing.T, net *btcnet.Net, i int) (ids []chainhash.Hash) {
	t.Helper()
	net.Synced(t)
	for hash, height := net.Best(t, i); height > 0; height-- {
		block := net.Block(t, i, hash)
		for _, tx := range block.Transactions[1:] {
			ids = append(ids, tx.TxHash())
		}
		hash = block.Header.PrevBlock
	}
	return append(ids, net.Mempool(t, i)...)
}
