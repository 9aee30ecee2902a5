package peers

import (
	"testing"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/infra/test/internal/btcnet"
	"sightglass/infra/test/internal/programs"
	"sightglass/ingester/peers"
)

// value returns a counter's or gauge's value, the sum over its labels; with a label's value, of that series.
func (l *listener) value(t *testing.T, name, label string) (sum float64) {
	t.Helper()
	families, err := l.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "sightglass_peers_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func idsOf(txs []*wire.MsgTx) (ids []chainhash.Hash) {
	for _, tx := range txs {
		ids = append(ids, tx.TxHash())
	}
	return ids
}

// pays makes payments, and waits until they are counted.
func pays(t *testing.T, net *btcnet.Net, l *listener, n int) {
	t.Helper()
	var ids []chainhash.Hash
	for range n {
		ids = append(ids, net.Pay(t, 50_000).TxHash())
	}
	programs.Until(t, "honest payments to be counted", func() bool { return l.has(ids...) })
}

// TestLiars_MadeUpTransactions: what two of seven peers make up is never counted. What three make up is: that is the limit
// of a quorum of three, which docs/security.md states.
func TestLiars_MadeUpTransactions(t *testing.T) {
	net := btcnet.Start(t, 5)
	node := net.Addrs()[0]
	lies := btcnet.MadeUp(100, 9000)
	first := btcnet.LiarMadeUp(t, btcnet.LiarAddr(t), node, lies...)
	second := btcnet.LiarMadeUp(t, btcnet.LiarAddr(t), node, lies...)
	l := listen(t, append([]string{first.Addr(), second.Addr()}, net.Addrs()...), nil)
	programs.Until(t, "both liars to have announced", func() bool { return l.Connected() == 7 && first.Lies() > 0 && second.Lies() > 0 })
	pays(t, net, l, 20)
	for _, id := range idsOf(lies) {
		if l.has(id) {
			t.Fatalf("got the made-up transaction %v counted with two of seven peers, want none", id)
		}
	}

	third := btcnet.LiarMadeUp(t, btcnet.LiarAddr(t), node, lies...)
	three := listen(t, append([]string{first.Addr(), second.Addr(), third.Addr()}, net.Addrs()...), nil)
	programs.Until(t, "three liars to be believed", func() bool { return three.has(idsOf(lies)...) })
}

// TestLiars_Transactions: a peer sends other transactions than were requested, or nothing.
func TestLiars_Transactions(t *testing.T) {
	for name, c := range map[string]struct {
		start  func(t testing.TB, addr, node string) *btcnet.Liar
		metric string
	}{
		"others": {btcnet.LiarWrongTransactions, "unrequested_total"},
		"none":   {btcnet.LiarStalls, "late_total"},
	} {
		t.Run(name, func(t *testing.T) {
			net := btcnet.Start(t, 4)
			liar := c.start(t, btcnet.LiarAddr(t), net.Addrs()[0])
			// All must announce before one of them is asked, by chance. With fewer, the liar might always be the last.
			l := listen(t, append([]string{liar.Addr()}, net.Addrs()...), func(o *peers.Options) { o.PeersQuorum = 5 })
			programs.Until(t, "all peers", func() bool { return l.Connected() == 5 })
			pays(t, net, l, 10)
			net.Mine(t, 1, 1)
			programs.Until(t, c.metric+" to count the liar", func() bool {
				pays(t, net, l, 1)
				return l.value(t, c.metric, "") > 0
			})
			hasAll(t, net, l)
		})
	}
}

// TestLiars_WrongBlocks: a peer whose blocks are not those of their headers is dropped, once, and another one is asked.
func TestLiars_WrongBlocks(t *testing.T) {
	net := btcnet.Start(t, 4)
	liar := btcnet.LiarWrongBlocks(t, btcnet.LiarAddr(t), net.Addrs()[0])
	// With one peer at a time, the first that is named is asked first.
	l := listen(t, append([]string{liar.Addr()}, net.Addrs()...), func(o *peers.Options) { o.PeersCount = 1 })
	programs.Until(t, "the liar to be dropped", func() bool { return l.value(t, "dropped_total", "block") > 0 })
	net.Mine(t, 1, 1) // a block that is newer than those that have to be requested again
	programs.Until(t, "another peer", func() bool { return l.value(t, "attempts_total", "") == 2 && l.Connected() == 1 })
	pays(t, net, l, 10)
	hasAll(t, net, l)
	for name, want := range map[string]float64{"dropped_total": 1, "bad_blocks_total": 1, "failures_total": 0, "connected": 1} {
		if got := l.value(t, name, ""); got != want {
			t.Errorf("got %s %v, want %v", name, got, want)
		}
	}
}

// hasAll waits until every transaction of the nodes is counted, and nothing else.
func hasAll(t *testing.T, net *btcnet.Net, l *listener) {
	t.Helper()
	want := transactionsOf(t, net, 1)
	programs.Until(t, "every transaction of the nodes", func() bool { return l.has(want...) })
	if got := l.all(); len(got) != len(want) {
		t.Errorf("got %d transactions, want the %d of the nodes", len(got), len(want))
	}
}

func TestLiars_FloodIsDropped(t *testing.T) {
	net := btcnet.Start(t, 4)
	liar := btcnet.LiarFloods(t, btcnet.LiarAddr(t), net.Addrs()[0], 10_000)
	l := listen(t, append([]string{liar.Addr()}, net.Addrs()...), nil)
	programs.Until(t, "the flood to be dropped", func() bool { return l.value(t, "dropped_total", "flood") == 1 })
	pays(t, net, l, 10)
	if liar.Clients() != 0 {
		t.Error("got the liar connected again, want it banned")
	}
}

// TestLiars_NoPeers: what is no peer of this network, or breaks the protocol, ends its own connection and nothing else.
func TestLiars_NoPeers(t *testing.T) {
	net := btcnet.Start(t, 4)
	node := net.Addrs()[0]
	named := []string{
		btcnet.LiarOtherNetwork(t, btcnet.LiarAddr(t), node).Addr(), btcnet.LiarSilent(t, btcnet.LiarAddr(t), node).Addr(), "127.0.0.1:1",
	}
	for _, raw := range btcnet.Malformed() {
		named = append(named, btcnet.LiarMalformed(t, btcnet.LiarAddr(t), node, raw).Addr())
	}
	l := listen(t, append(named, net.Addrs()...), func(o *peers.Options) { o.PeersCount = 32 })
	programs.Until(t, "the honest peers, and liars dropped", func() bool {
		return l.Connected() >= 4 && l.value(t, "failures_total", "") > 0 && l.value(t, "dropped_total", "malformed") > 4
	})
	pays(t, net, l, 20)
}

// TestLiars_Headers: a false chain changes nothing. Its peer is dropped if it breaks a rule, except one about our clock.
func TestLiars_Headers(t *testing.T) {
	net := btcnet.Start(t, 4)
	node := net.Addrs()[0]
	for name, lie := range map[string]btcnet.HeaderLie{
		"no work": btcnet.NoWork, "easier target": btcnet.EasierTarget, "harder target": btcnet.HarderTarget,
		"from the future": btcnet.FromFuture, "too old": btcnet.TimeTooOld, "unknown parent": btcnet.UnknownParent,
	} {
		t.Run(name, func(t *testing.T) {
			liar := btcnet.LiarHeaders(t, btcnet.LiarAddr(t), node, lie, 10)
			l := listen(t, append([]string{liar.Addr()}, net.Addrs()...), nil)
			programs.Until(t, "the lie, and the honest chain", func() bool {
				_, height := net.Best(t, 1)
				return liar.Lies() > 0 && l.value(t, "height", "") == float64(height)
			})
			net.Mine(t, 1, 1)
			programs.Until(t, "the next block", func() bool {
				_, height := net.Best(t, 1)
				return l.value(t, "height", "") == float64(height)
			})
			if dropped := l.value(t, "dropped_total", "headers"); (name == "unknown parent" || name == "from the future") != (dropped == 0) {
				t.Errorf("got %v peers dropped for headers, want the liar if it broke a rule", dropped)
			}
		})
	}
}
