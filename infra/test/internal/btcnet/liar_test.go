package btcnet

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/peer"
	"github.com/btcsuite/btcd/wire"

	"sightglass/infra/test/internal/programs"
)

// A client is a btcd peer that keeps what it receives.
type client struct {
	*peer.Peer
	verack chan struct{}

	mu        sync.Mutex
	announced map[chainhash.Hash]wire.InvType
	invs      int // announcements, also repeated ones
	txs       map[chainhash.Hash]*wire.MsgTx
	blocks    map[chainhash.Hash]*wire.MsgBlock
	headers   [][]*wire.BlockHeader
	addrs     []string
	notFound  int
	pongs     int
}

// dial connects to a peer. It does not wait for the handshake: see greeted.
func dial(t *testing.T, addr string) *client {
	t.Helper()
	c := &client{
		verack:    make(chan struct{}),
		announced: make(map[chainhash.Hash]wire.InvType),
		txs:       make(map[chainhash.Hash]*wire.MsgTx),
		blocks:    make(map[chainhash.Hash]*wire.MsgBlock),
	}
	locked := func(f func()) {
		c.mu.Lock()
		defer c.mu.Unlock()
		f()
	}
	config := &peer.Config{
		UserAgentName: "test", UserAgentVersion: "1", ChainParams: params,
		ProtocolVersion: peer.MaxProtocolVersion, Services: wire.SFNodeWitness, TrickleInterval: time.Second,
		Listeners: peer.MessageListeners{
			OnVerAck: func(*peer.Peer, *wire.MsgVerAck) { close(c.verack) },
			OnInv: func(_ *peer.Peer, m *wire.MsgInv) {
				locked(func() {
					c.invs += len(m.InvList)
					for _, iv := range m.InvList {
						c.announced[iv.Hash] = iv.Type
					}
				})
			},
			OnTx: func(_ *peer.Peer, m *wire.MsgTx) { locked(func() { c.txs[m.TxHash()] = m }) },
			OnBlock: func(_ *peer.Peer, m *wire.MsgBlock, _ []byte) {
				locked(func() { c.blocks[m.BlockHash()] = m })
			},
			OnHeaders:  func(_ *peer.Peer, m *wire.MsgHeaders) { locked(func() { c.headers = append(c.headers, m.Headers) }) },
			OnNotFound: func(_ *peer.Peer, m *wire.MsgNotFound) { locked(func() { c.notFound += len(m.InvList) }) },
			OnAddrV2: func(_ *peer.Peer, m *wire.MsgAddrV2) {
				locked(func() {
					for _, a := range m.AddrList {
						c.addrs = append(c.addrs, net.JoinHostPort(a.Addr.String(), fmt.Sprint(a.Port)))
					}
				})
			},
			OnPong: func(*peer.Peer, *wire.MsgPong) { locked(func() { c.pongs++ }) },
		},
	}
	p, err := peer.NewOutboundPeer(config, addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Peer = p
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p.AssociateConnection(conn)
	t.Cleanup(func() {
		p.Disconnect()
		p.WaitForDisconnect()
	})
	return c
}

// greeted connects to a peer, and waits for the end of the handshake.
func greeted(t *testing.T, addr string) *client {
	t.Helper()
	c := dial(t, addr)
	select {
	case <-c.verack:
	case <-time.After(time.Minute):
		t.Fatal("got no verack within a minute")
	}
	return c
}

// until waits for a condition on what the client has received.
func (c *client) until(t *testing.T, what string, met func() bool) {
	t.Helper()
	programs.Until(t, what, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return met()
	})
}

// ask requests items.
func (c *client) ask(kind wire.InvType, hashes ...chainhash.Hash) {
	get := wire.NewMsgGetData()
	for _, h := range hashes {
		get.InvList = append(get.InvList, wire.NewInvVect(kind, &h))
	}
	c.QueueMessage(get, nil)
}

// answered waits until the peer has handled all that it was sent before.
func (c *client) answered(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	pongs := c.pongs
	c.mu.Unlock()
	c.QueueMessage(wire.NewMsgPing(1), nil)
	c.until(t, "a pong", func() bool { return c.pongs > pongs })
}

func TestRelay_PassesPaymentsAndBlocks(t *testing.T) {
	b := Start(t, 2)
	relay := Relay(t, LiarAddr(t), b.Addrs()[1])
	c := greeted(t, relay.Addr())
	c.QueueMessage(wire.NewMsgSendHeaders(), nil)
	c.answered(t)
	tx := b.Pay(t, 30_000)
	id := tx.TxHash()
	c.until(t, "the payment's announcement", func() bool { return c.announced[id] == wire.InvTypeTx })
	c.ask(wire.InvTypeWitnessTx, id)
	c.until(t, "the payment", func() bool { return c.txs[id] != nil })
	if got, want := c.txs[id].WitnessHash(), tx.WitnessHash(); got != want {
		t.Errorf("got the transaction %v with witness, want %v", got, want)
	}
	hash := b.Mine(t, 0, 1)[0]
	c.until(t, "the block's header", func() bool { return len(c.headers) > 0 })
	if got := c.headers[0][0].BlockHash(); got != hash {
		t.Errorf("got the header of %v, want %v", got, hash)
	}
	c.ask(wire.InvTypeWitnessBlock, hash)
	c.until(t, "the block", func() bool { return c.blocks[hash] != nil })
	if got := relay.Lies(); got > 0 {
		t.Errorf("got %d lies, want 0", got)
	}
	if got, want := relay.Received(wire.CmdGetData), 2; got != want {
		t.Errorf("got %d getdata messages, want %d", got, want)
	}
	if got, want := relay.Clients(), 1; got != want {
		t.Errorf("got %d clients, want %d", got, want)
	}
	relay.Disconnect()
	c.WaitForDisconnect()
	programs.Until(t, "the relay to have no client", func() bool { return relay.Clients() == 0 })
}

func TestLiarMadeUp_LiarsAgreeAndNodesReject(t *testing.T) {
	b := Start(t, 2)
	const price = 1000.0
	txs, more := MadeUp(1500, price), MadeUp(1, price)[0]
	var liars []*MadeUpLiar
	var clients []*client
	for range 2 {
		l := LiarMadeUp(t, LiarAddr(t), b.Addrs()[0], txs...)
		liars, clients = append(liars, l), append(clients, greeted(t, l.Addr()))
	}
	honest := b.Pay(t, 30_000)
	for i, c := range clients {
		c.until(t, "all announcements", func() bool {
			return len(c.announced) == len(txs)+1 && c.announced[txs[0].TxHash()] == wire.InvTypeTx
		})
		programs.Until(t, "the handshake", func() bool { return liars[i].Clients() == 1 })
		liars[i].Announce(more)
		c.until(t, "a further announcement", func() bool { return c.announced[more.TxHash()] != 0 })
		c.ask(wire.InvTypeWitnessTx, txs[7].TxHash(), honest.TxHash(), more.TxHash())
		c.until(t, "the transactions", func() bool { return len(c.txs) == 3 })
		for _, tx := range []*wire.MsgTx{txs[7], honest, more} {
			if c.txs[tx.TxHash()] == nil {
				t.Errorf("got no transaction %v", tx.TxHash())
			}
		}
	}
	if err := b.nodes[0].send(t.Context(), more); err == nil {
		t.Error("got a node that accepts a made-up transaction")
	}
	for range 100 {
		amount := float64(MadeUp(1, price)[0].TxOut[0].Value) / 1e8 * price
		if amount < 9.99 || amount > 1000.01 {
			t.Errorf("got a payment of %v USD, want 10 to 1000", amount)
		}
	}
}

func TestLiarWrongTransactions_SendsOthers(t *testing.T) {
	b := Start(t, 2)
	l := LiarWrongTransactions(t, LiarAddr(t), b.Addrs()[0])
	c := greeted(t, l.Addr())
	id := b.Pay(t, 30_000).TxHash()
	c.until(t, "the announcement", func() bool { return c.announced[id] != 0 })
	c.ask(wire.InvTypeWitnessTx, id)
	c.until(t, "a transaction", func() bool { return len(c.txs) == 1 })
	if c.txs[id] != nil {
		t.Errorf("got the requested transaction %v, want another", id)
	}
	if got := l.Lies(); got != 1 {
		t.Errorf("got %d lies, want 1", got)
	}
}

func TestLiarWrongBlocks_SendsOtherTransactions(t *testing.T) {
	b := Start(t, 2)
	l := LiarWrongBlocks(t, LiarAddr(t), b.Addrs()[0])
	c := greeted(t, l.Addr())
	hash := b.Mine(t, 0, 1)[0]
	c.ask(wire.InvTypeWitnessBlock, hash)
	c.until(t, "the block", func() bool { return c.blocks[hash] != nil })
	block := c.blocks[hash]
	if got := root(block); got == block.Header.MerkleRoot {
		t.Errorf("got the transactions of the header's merkle root %v, want others", got)
	}
	if got := l.Lies(); got != 1 {
		t.Errorf("got %d lies, want 1", got)
	}
}

func root(block *wire.MsgBlock) chainhash.Hash {
	return blockchain.CalcMerkleRoot(btcutil.NewBlock(block).Transactions(), false)
}

func TestLiarWitness_SendsOtherWitness(t *testing.T) {
	b := Start(t, 2)
	l := LiarWitness(t, LiarAddr(t), b.Addrs()[0])
	c := greeted(t, l.Addr())
	tx := b.Pay(t, 30_000)
	id := tx.TxHash()
	c.until(t, "the announcement", func() bool { return c.announced[id] != 0 })
	c.ask(wire.InvTypeWitnessTx, id)
	c.until(t, "the transaction", func() bool { return c.txs[id] != nil })
	if got := c.txs[id].WitnessHash(); got == tx.WitnessHash() {
		t.Errorf("got the witness of the payment, want another")
	}
}

func TestLiarAddresses_AnswersGetAddr(t *testing.T) {
	b := Start(t, 2)
	want := append(b.Addrs(), LiarAddr(t))
	l := LiarAddresses(t, LiarAddr(t), b.Addrs()[0], want...)
	c := greeted(t, l.Addr())
	c.QueueMessage(wire.NewMsgGetAddr(), nil)
	c.until(t, "addresses", func() bool { return len(c.addrs) > 0 })
	if !slices.Equal(c.addrs, want) {
		t.Errorf("got %v, want %v", c.addrs, want)
	}
}

func TestLiarStalls_AnswersPingButNotGetData(t *testing.T) {
	b := Start(t, 2)
	l := LiarStalls(t, LiarAddr(t), b.Addrs()[0])
	c := greeted(t, l.Addr())
	id := b.Pay(t, 30_000).TxHash()
	best, _ := b.Best(t, 0)
	c.until(t, "the announcement", func() bool { return c.announced[id] != 0 })
	c.ask(wire.InvTypeWitnessTx, id)
	c.ask(wire.InvTypeWitnessBlock, best)
	c.answered(t)
	if len(c.txs)+len(c.blocks)+c.notFound > 0 {
		t.Errorf("got %d transactions, %d blocks, %d not found, want none", len(c.txs), len(c.blocks), c.notFound)
	}
	if got, want := l.Lies(), 2; got != want {
		t.Errorf("got %d lies, want %d", got, want)
	}
}

func TestLiarSilent_SendsNothing(t *testing.T) {
	b := Start(t, 1)
	l := LiarSilent(t, LiarAddr(t), b.Addrs()[0])
	c := dial(t, l.Addr())
	programs.Until(t, "the version not to be answered", func() bool { return l.Lies() > 0 })
	if c.VersionKnown() {
		t.Error("got a version, want none")
	}
}

func TestLiarFloods_AnnouncesAtRate(t *testing.T) {
	b := Start(t, 1)
	l := LiarFloods(t, LiarAddr(t), b.Addrs()[0], 10_000)
	c := greeted(t, l.Addr())
	c.until(t, "5,000 announcements", func() bool { return c.invs >= 5000 })
	var asked []chainhash.Hash
	c.mu.Lock()
	for id := range c.announced {
		asked = append(asked, id)
	}
	c.mu.Unlock()
	if got, least := len(asked), 5000; got < least {
		t.Errorf("got %d different IDs, want %d or more", got, least)
	}
	c.ask(wire.InvTypeWitnessTx, asked[:10]...)
	c.until(t, "the answer", func() bool { return c.notFound == 10 })
}

func TestLiarOtherNetwork_ClientDisconnects(t *testing.T) {
	b := Start(t, 1)
	l := LiarOtherNetwork(t, LiarAddr(t), b.Addrs()[0])
	c := dial(t, l.Addr())
	c.WaitForDisconnect()
	if c.VersionKnown() {
		t.Error("got a version, want none")
	}
}

func TestMalformed_BtcdRejectsOrPanics(t *testing.T) {
	// The others are errors.
	ignored := []string{"unknown command"}
	parsed := []string{"second version"} // package peer then disconnects
	panics := []string{"tx, input script", "tx, output script", "tx, witness item",
		"block, input script", "block, output script", "block, witness item"}
	for name, raw := range Malformed() {
		var want string
		switch {
		case slices.Contains(ignored, name):
			want = "unknown"
		case slices.Contains(parsed, name):
			want = "parsed"
		case slices.Contains(panics, name):
			want = "panic"
		default:
			want = "error"
		}
		if got := read(raw); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// read reads a message as btcd's package peer does, and returns what happened.
func read(raw []byte) (result string) {
	defer func() {
		if err := recover(); err != nil {
			result = fmt.Sprintf("panic: %v", err)
		}
	}()
	_, _, _, err := wire.ReadMessageWithEncodingN(bytes.NewReader(raw), wire.ProtocolVersion, params.Net,
		wire.WitnessEncoding)
	switch {
	case err == nil:
		return "parsed"
	case errors.Is(err, wire.ErrUnknownMessage):
		return "unknown"
	default:
		return "error: " + err.Error()
	}
}

func TestLiarMalformed_ClientDisconnects(t *testing.T) {
	b := Start(t, 1)
	all := Malformed()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !strings.HasPrefix(read(all[name]), "error") {
			continue // a btcd peer would panic, or not react
		}
		t.Run(name, func(t *testing.T) {
			l := LiarMalformed(t, LiarAddr(t), b.Addrs()[0], all[name])
			c := greeted(t, l.Addr())
			c.WaitForDisconnect()
		})
	}
}

func TestLiarHeaders_ChainsAreFalse(t *testing.T) {
	b := Start(t, 1)
	best, _ := b.Best(t, 0)
	tip := b.Block(t, 0, best).Header
	const count = 5
	for what := range HeaderLies {
		l := LiarHeaders(t, LiarAddr(t), b.Addrs()[0], what, count)
		c := greeted(t, l.Addr())
		get := wire.NewMsgGetHeaders()
		get.BlockLocatorHashes = []*chainhash.Hash{&best}
		c.QueueMessage(get, nil)
		c.until(t, "headers", func() bool { return len(c.headers) == 1 })
		headers := c.headers[0]
		if got := len(headers); got != count {
			t.Errorf("lie %d: got %d headers, want %d", what, got, count)
		}
		got := faults(tip, headers)
		want := map[HeaderLie]string{
			NoWork: "work", EasierTarget: "target", HarderTarget: "target", BrokenLink: "link", UnknownParent: "parent",
			FromFuture: "future", TimeTooOld: "old", WithheldBlocks: "",
		}[what]
		if got != want {
			t.Errorf("lie %d: got the faults %q, want %q", what, got, want)
		}
		c.ask(wire.InvTypeWitnessBlock, headers[0].BlockHash())
		c.until(t, "the answer for a block", func() bool { return c.notFound == 1 })
	}
}

// faults returns what is wrong with headers after a block.
func faults(tip wire.BlockHeader, headers []*wire.BlockHeader) string {
	var all []string
	fault := func(what string, is bool) {
		if is && !slices.Contains(all, what) {
			all = append(all, what)
		}
	}
	before := tip
	for i, h := range headers {
		fault("work", blockchain.HashToBig(ptr(h.BlockHash())).Cmp(blockchain.CompactToBig(h.Bits)) > 0)
		fault("target", h.Bits != params.PowLimitBits)
		fault("parent", i == 0 && h.PrevBlock != before.BlockHash())
		fault("link", i > 0 && h.PrevBlock != before.BlockHash())
		fault("future", time.Until(h.Timestamp) > 2*time.Hour)
		fault("old", h.Timestamp.Before(tip.Timestamp.Add(-10*time.Minute)))
		before = *h
	}
	return strings.Join(all, " ")
}

func ptr[T any](v T) *T { return &v }
