// Package peers is a source of transactions that needs no node: it listens to several peers of Bitcoin's peer-to-peer
// network. It gives the same events as package node.
//
// It validates no transaction. A node relays only what it has validated, so a transaction counts when a quorum of peers of
// different networks has announced it. Blocks are checked by their work. It serves and announces nothing.
//
// One goroutine owns all state; the goroutines of the connections pass it functions. A tracker decides which transactions
// count, a chain which headers, and neither has I/O.
package peers

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/btcsuite/btcd/addrmgr"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/connmgr"
	"github.com/btcsuite/btcd/peer"
	"github.com/btcsuite/btcd/wire"
	"golang.org/x/net/proxy"
	"golang.org/x/time/rate"

	"sightglass/ingester/node"
)

// Options configure a Network. The settings are valid.
type Options struct {
	Settings
	Window  time.Duration // transactions and blocks older than this are not needed
	Version string        // of the program, for the user agent
	Log     *slog.Logger

	Retry time.Duration // least time between attempts to one address; 0: a minute
}

// The bounds of the connections.
const (
	retryInterval    = time.Minute
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 20 * time.Second
	banTime          = 24 * time.Hour
	maxBanned        = 10_000
	maxCalls         = 256 // of peers' goroutines that wait for the loop; more block, and the peer's socket with them
	tickInterval     = time.Second
	helpAfter        = 30 * time.Second // without any peer, the log says what to do

	// A peer's announcements: Bitcoin Core sends an inbound peer 7 a second on average and 35 at most, and 5,000 or more at
	// once after a block.
	announceRate  = 200
	announceBurst = 50_000

	maxBlocksAtOnce = 4
	blockTimeout    = time.Minute
)

// required are the services of a peer that relays transactions with their witnesses.
const required = wire.SFNodeWitness

// A Network is a set of peers. Run may be called once.
type Network struct {
	opts      Options
	params    *chaincfg.Params
	metrics   *Metrics
	tracker   *tracker
	chain     *chain
	addresses *addrmgr.AddrManager
	calls     chan func(now time.Time)
	done      <-chan struct{} // of Run's context
	goroutine sync.WaitGroup

	links    [maxPeers]*link
	attempts map[string]time.Time // the last one, by address
	dialing  map[string]bool
	banned   map[string]time.Time // until when, by host
	wanted   map[chainhash.Hash]*wanted
	fetched  map[chainhash.Hash]time.Time // the blocks of the window that were applied, and their times
	helped   time.Time                    // of the last advice in the log; at first, the start
	clock    rate.Sometimes               // warnings about it
	seeded   atomic.Int64                 // addresses that the DNS seeds named

	connected atomic.Int32 // for other goroutines
}

// A link is a connected peer.
type link struct {
	id      peerID
	peer    *peer.Peer
	addr    string
	group   string
	allowed *rate.Limiter // announcements
	asked   time.Time     // for headers
	ready   bool          // after the handshake
	since   time.Time
}

// A wanted block is being fetched.
type wanted struct {
	header *header
	from   peerID
	at     time.Time
	tried  uint64
}

// New returns a Network that is not connected.
func New(o Options, m *Metrics) *Network {
	if o.Retry == 0 {
		o.Retry = retryInterval
	}
	params := networks[o.PeersNetwork]
	n := &Network{
		clock: rate.Sometimes{First: 1, Interval: time.Minute},
		opts:  o, params: params, metrics: m, tracker: newTracker(o.quorum(), m), chain: newChain(params, anchorOf(params)),
		calls: make(chan func(time.Time), maxCalls), attempts: make(map[string]time.Time), dialing: make(map[string]bool),
		banned: make(map[string]time.Time), wanted: make(map[chainhash.Hash]*wanted), fetched: make(map[chainhash.Hash]time.Time),
	}
	n.addresses = addrmgr.New(o.PeersDir, n.lookup)
	return n
}

// Connected returns the number of peers.
func (n *Network) Connected() int { return int(n.connected.Load()) }

// Wanted returns the number of peers that there should be.
func (n *Network) Wanted() int { return n.opts.wanted() }

// Quorum returns how many peers must announce a transaction.
func (n *Network) Quorum() int { return n.opts.quorum() }

func (s Settings) wanted() int {
	if named := len(s.Peers.Named); named > 0 {
		return min(s.PeersCount, named)
	}
	return s.PeersCount
}

func (s Settings) quorum() int { return min(s.PeersQuorum, s.wanted()) }

// Run follows the network until ctx ends, and sends each event to out. Peers may come and go.
func (n *Network) Run(ctx context.Context, out chan<- node.Event) error {
	ctx, cancel := context.WithCancel(ctx)
	n.done, n.helped = ctx.Done(), time.Now()
	if n.opts.PeersDir != "" && len(n.opts.Peers.Named) == 0 {
		n.addresses.Start()
		defer n.addresses.Stop() //nolint:errcheck // it is not stopped twice
	}
	defer n.goroutine.Wait()
	defer n.disconnectAll()
	defer cancel()
	tick := time.NewTicker(tickInterval)
	defer tick.Stop()
	n.seed()
	n.connect(ctx, time.Now())
	for {
		select {
		case <-ctx.Done():
			return nil
		case call := <-n.calls:
			call(time.Now())
		case now := <-tick.C:
			n.tracker.tick(now, n.opts.Window)
			n.connect(ctx, now)
			n.fetchBlocks(now)
			n.help(now)
		}
		if !n.perform(ctx, out) {
			return nil
		}
	}
}

// perform does what the tracker wants, and reports whether ctx has not ended.
func (n *Network) perform(ctx context.Context, out chan<- node.Event) bool {
	todo := n.tracker.take()
	for _, r := range todo.requests {
		get := wire.NewMsgGetDataSizeHint(uint(len(r.ids)))
		for i := range r.ids {
			get.InvList = append(get.InvList, wire.NewInvVect(wire.InvTypeWitnessTx, &r.ids[i]))
		}
		n.links[r.peer].peer.QueueMessage(get, nil)
	}
	for _, event := range todo.events {
		select {
		case out <- event:
		case <-ctx.Done():
			return false
		}
	}
	for _, id := range todo.drop {
		n.drop(n.links[id], "unconfirmed", time.Now())
	}
	return true
}

// post passes a function to the loop. It blocks while the loop is busy, and with it the peer.
func (n *Network) post(call func(now time.Time)) {
	select {
	case n.calls <- call:
	case <-n.done:
	}
}

func (n *Network) disconnectAll() {
	for _, l := range n.links {
		if l != nil {
			l.peer.Disconnect()
		}
	}
}

// connect starts attempts until there are enough.
func (n *Network) connect(ctx context.Context, now time.Time) {
	n.forget(now)
	for range n.opts.PeersCount {
		if n.linked()+len(n.dialing) >= n.Wanted() {
			return
		}
		addr, group := n.next(now)
		if addr == "" {
			return
		}
		n.attempts[addr], n.dialing[addr] = now, true
		n.metrics.attempts.Inc()
		n.goroutine.Go(func() { n.dial(ctx, addr, group) })
	}
}

func (n *Network) linked() (count int) {
	for _, l := range n.links {
		if l != nil {
			count++
		}
	}
	return count
}

// forget drops old attempts and bans.
func (n *Network) forget(now time.Time) {
	for addr, at := range n.attempts {
		if now.Sub(at) > n.opts.Retry && !n.dialing[addr] {
			delete(n.attempts, addr)
		}
	}
	for host, until := range n.banned {
		if now.After(until) {
			delete(n.banned, host)
		}
	}
}

// next returns an address that may be tried now, and its group; "" if there is none.
func (n *Network) next(now time.Time) (addr, group string) {
	if len(n.opts.Peers.Named) > 0 {
		for _, addr := range n.opts.Peers.Named {
			if n.free(addr, addr) {
				return addr, addr // whoever names peers has chosen their networks
			}
		}
		return "", ""
	}
	if n.addresses.NumAddresses() == 0 {
		return "", ""
	}
	const tries = 100
	for i := range tries {
		known := n.addresses.GetAddress()
		if known == nil {
			return "", ""
		}
		na := known.NetAddress()
		addr, group := addrmgr.NetAddressKey(na), addrmgr.GroupKey(na)
		standard := strconv.Itoa(int(na.Port)) == n.params.DefaultPort
		if n.free(addr, group) && now.Sub(known.LastAttempt()) > n.opts.Retry && (standard || i > tries/2) {
			n.addresses.Attempt(na)
			return addr, group
		}
	}
	return "", ""
}

// free reports whether neither an address nor its group is in use, nor tried within the last minute, nor banned.
func (n *Network) free(addr, group string) bool {
	if _, tried := n.attempts[addr]; tried {
		return false
	}
	if _, banned := n.banned[addr]; banned {
		return false
	}
	for _, l := range n.links {
		if l != nil && (l.addr == addr || l.group == group) {
			return false
		}
	}
	return true
}

// dial connects to a peer and waits for its end.
func (n *Network) dial(ctx context.Context, addr, group string) {
	conn, err := n.dialer()(ctx, addr)
	if err != nil {
		n.metrics.failures.Inc()
		n.opts.Log.Debug("cannot connect to a peer", "addr", addr, "err", err)
		n.post(func(time.Time) { delete(n.dialing, addr) })
		return
	}
	l := &link{addr: addr, group: group, allowed: rate.NewLimiter(announceRate, announceBurst)}
	p, err := peer.NewOutboundPeer(n.config(l), addr)
	if err != nil {
		conn.Close()
		n.metrics.failures.Inc()
		n.post(func(time.Time) { delete(n.dialing, addr) })
		return
	}
	l.peer = p
	handshake := time.AfterFunc(handshakeTimeout, func() {
		if !p.VerAckReceived() {
			p.Disconnect()
		}
	})
	defer handshake.Stop()
	stop := context.AfterFunc(ctx, p.Disconnect)
	defer stop()
	guarded := &guard{Conn: conn}
	p.AssociateConnection(guarded)
	p.WaitForDisconnect()
	n.post(func(now time.Time) {
		if guarded.bad.Load() {
			n.drop(l, "malformed", now)
		}
		n.disconnected(l, now)
	})
}

// config returns the configuration of one peer, whose messages come to the loop.
func (n *Network) config(l *link) *peer.Config {
	received, sent := n.metrics.bytes.WithLabelValues("received"), n.metrics.bytes.WithLabelValues("sent")
	return &peer.Config{
		UserAgentName: "Sightglass", UserAgentVersion: n.opts.Version,
		ChainParams: n.params, Services: 0, Proxy: n.opts.PeersProxy,
		HostToNetAddress: n.addresses.HostToNetAddress,
		Listeners: peer.MessageListeners{
			OnRead:  func(_ *peer.Peer, bytes int, _ wire.Message, _ error) { received.Add(float64(bytes)) },
			OnWrite: func(_ *peer.Peer, bytes int, _ wire.Message, _ error) { sent.Add(float64(bytes)) },
			OnVersion: func(_ *peer.Peer, m *wire.MsgVersion) *wire.MsgReject {
				if m.Services&required != required || m.Services&(wire.SFNodeNetwork|wire.SFNodeNetworkLimited) == 0 || m.DisableRelayTx {
					n.metrics.dropped.WithLabelValues("services").Inc()
					return wire.NewMsgReject(m.Command(), wire.RejectNonstandard, "no witnesses or no relay")
				}
				return nil
			},
			OnVerAck:   func(*peer.Peer, *wire.MsgVerAck) { n.post(func(now time.Time) { n.handshaken(l, now) }) },
			OnInv:      func(_ *peer.Peer, m *wire.MsgInv) { n.post(func(now time.Time) { n.inventory(l, m, now) }) },
			OnTx:       func(_ *peer.Peer, m *wire.MsgTx) { n.post(func(now time.Time) { n.transaction(l, m, now) }) },
			OnNotFound: func(_ *peer.Peer, m *wire.MsgNotFound) { n.post(func(now time.Time) { n.notFound(l, m, now) }) },
			OnHeaders:  func(_ *peer.Peer, m *wire.MsgHeaders) { n.post(func(now time.Time) { n.headers(l, m, now) }) },
			OnBlock:    func(_ *peer.Peer, m *wire.MsgBlock, _ []byte) { n.post(func(now time.Time) { n.block(l, m, now) }) },
			OnAddr: func(p *peer.Peer, m *wire.MsgAddr) {
				addresses := make([]*wire.NetAddressV2, len(m.AddrList))
				for i, a := range m.AddrList {
					addresses[i] = wire.NetAddressV2FromBytes(a.Timestamp, a.Services, a.IP, a.Port)
				}
				n.addresses.AddAddresses(addresses, p.NA())
			},
			OnAddrV2: func(p *peer.Peer, m *wire.MsgAddrV2) { n.addresses.AddAddresses(m.AddrList, p.NA()) },
		},
	}
}

// handshaken gives a peer its place, and asks it for headers and addresses.
func (n *Network) handshaken(l *link, now time.Time) {
	delete(n.dialing, l.addr)
	free := -1
	for i, other := range n.links {
		switch {
		case other == nil && free < 0:
			free = i
		case other != nil && other.group == l.group:
			l.peer.Disconnect()
			return
		}
	}
	if free < 0 || n.linked() >= n.Wanted() {
		l.peer.Disconnect()
		return
	}
	l.id, l.ready, l.since = peerID(free), true, now
	n.links[free] = l
	n.tracker.connect(l.id)
	n.count()
	n.opts.Log.Info("connected to a peer", "addr", l.addr, "peer", free, "agent", fmt.Sprintf("%.80q", l.peer.UserAgent()), "peers", n.Connected())
	if len(n.opts.Peers.Named) == 0 {
		n.addresses.Connected(l.peer.NA())
		n.addresses.Good(l.peer.NA())
		if n.addresses.NeedMoreAddresses() {
			l.peer.QueueMessage(wire.NewMsgGetAddr(), nil)
		}
	}
	l.peer.QueueMessage(wire.NewMsgSendHeaders(), nil)
	n.askHeaders(l, now)
}

func (n *Network) count() {
	n.connected.Store(int32(n.linked()))
	n.metrics.peers.Set(float64(n.linked()))
}

func (n *Network) disconnected(l *link, now time.Time) {
	delete(n.dialing, l.addr)
	if !l.ready {
		if l.since.IsZero() { // else it was dropped
			n.metrics.failures.Inc()
		}
		return
	}
	l.ready = false
	n.links[l.id] = nil
	n.tracker.disconnect(l.id, now)
	for _, w := range n.wanted {
		if w.from == l.id {
			w.at = time.Time{} // another peer is asked at once
		}
	}
	n.count()
	n.opts.Log.Info("disconnected from a peer", "addr", l.addr, "after", now.Sub(l.since).Round(time.Second), "peers", n.Connected())
}

// drop disconnects a peer that misbehaves, and bans it for a day. What it sent before and is still queued is ignored.
func (n *Network) drop(l *link, reason string, now time.Time) {
	if l == nil || !l.ready {
		return
	}
	n.metrics.dropped.WithLabelValues(reason).Inc()
	n.opts.Log.Warn("dropped a peer", "addr", l.addr, "reason", reason)
	if len(n.banned) < maxBanned {
		n.banned[l.addr] = now.Add(banTime)
	}
	l.peer.Disconnect()
	n.disconnected(l, now)
}

// help logs what to do while there is no peer.
func (n *Network) help(now time.Time) {
	if n.Connected() > 0 {
		n.helped = now
		return
	}
	if now.Sub(n.helped) < helpAfter {
		return
	}
	n.helped = now
	n.seed() // the network may have come back
	n.opts.Log.Warn("no peer can be reached: let TCP to port "+n.params.DefaultPort+" and DNS go out, or name peers with --peers HOST:PORT, or use a proxy with --proxy",
		"from_dns_seeds", n.seeded.Load(), "known", n.addresses.NumAddresses(), "named", len(n.opts.Peers.Named))
}

// dialer returns a function that connects, through the proxy if there is one, which then resolves names.
func (n *Network) dialer() func(ctx context.Context, addr string) (net.Conn, error) {
	direct := &net.Dialer{Timeout: dialTimeout}
	if n.opts.PeersProxy == "" {
		return func(ctx context.Context, addr string) (net.Conn, error) { return direct.DialContext(ctx, "tcp", addr) }
	}
	return func(ctx context.Context, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, 3*dialTimeout) // Tor builds a circuit
		defer cancel()
		socks, err := proxy.SOCKS5("tcp", n.opts.PeersProxy, nil, direct)
		if err != nil {
			return nil, err
		}
		return socks.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
	}
}

// lookup resolves the name of a DNS seed: through the proxy if there is one, so that nobody else learns of it.
func (n *Network) lookup(host string) ([]net.IP, error) {
	if n.opts.PeersProxy != "" {
		return connmgr.TorLookupIP(host, n.opts.PeersProxy)
	}
	return net.LookupIP(host)
}

// seed asks the DNS seeds for addresses, if few are known.
func (n *Network) seed() {
	if len(n.opts.Peers.Named) > 0 || n.addresses.NumAddresses() >= enoughAddresses {
		return
	}
	connmgr.SeedFromDNS(n.params, wire.SFNodeNetwork|required, n.lookup, func(found []*wire.NetAddressV2) {
		n.seeded.Add(int64(len(found)))
		n.addresses.AddAddresses(found, found[0])
	})
}

// enoughAddresses is how many known addresses make the DNS seeds superfluous.
const enoughAddresses = 100
