package btcnet

import (
	"crypto/rand"
	"encoding/binary"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
	"sightglass/ingester/testblock"
)

// MadeUp returns transactions that no node accepts, since they spend nothing that exists, but that can be parsed. Each
// pays a round dollar amount at a price, and has change, so that they are evidence for that price.
func MadeUp(count int, price float64) (txs []*wire.MsgTx) {
	dollars := []float64{10, 20, 25, 50, 100, 200, 300, 500, 1000}
	for range count {
		tx := wire.NewMsgTx(2)
		proof, key := make([]byte, 71), make([]byte, 33)
		rand.Read(proof)
		rand.Read(key)
		tx.AddTxIn(wire.NewTxIn(wire.NewOutPoint(randomHash(), 0), nil, wire.TxWitness{proof, key}))
		amount := dollars[mathrand.IntN(len(dollars))] / price * btcutil.SatoshiPerBitcoin
		change := 1e5 + mathrand.Int64N(btcutil.SatoshiPerBitcoin)
		tx.AddTxOut(wire.NewTxOut(int64(amount), foreignScript()))
		tx.AddTxOut(wire.NewTxOut(change, foreignScript()))
		txs = append(txs, tx)
	}
	return txs
}

// A MadeUpLiar announces made-up transactions, and sends them when asked.
type MadeUpLiar struct {
	*Liar
	mu  sync.Mutex
	txs map[chainhash.Hash]*wire.MsgTx
}

// LiarMadeUp starts a liar that announces made-up transactions to each client after the handshake. Several liars agree
// if they have the same transactions.
func LiarMadeUp(t testing.TB, addr, node string, txs ...*wire.MsgTx) *MadeUpLiar {
	t.Helper()
	l := &MadeUpLiar{txs: make(map[chainhash.Hash]*wire.MsgTx)}
	l.add(txs)
	l.Liar = startLiar(t, addr, node, lie{
		greet: func(s *session) {
			l.mu.Lock()
			all := slices.Collect(maps.Keys(l.txs))
			l.mu.Unlock()
			announce(s, all)
		},
		fromClient: func(s *session, m message) []message {
			if m.command != wire.CmdGetData {
				return []message{m}
			}
			own, rest := split(m, func(iv *wire.InvVect) bool { return isTx(iv) && l.tx(iv.Hash) != nil })
			for _, iv := range own {
				s.tell(l.tx(iv.Hash))
			}
			return rest
		},
	})
	return l
}

func (l *MadeUpLiar) tx(id chainhash.Hash) *wire.MsgTx {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.txs[id]
}

func (l *MadeUpLiar) add(txs []*wire.MsgTx) (ids []chainhash.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, tx := range txs {
		id := tx.TxHash()
		l.txs[id] = tx
		ids = append(ids, id)
	}
	return ids
}

// Announce announces further transactions to the connected clients.
func (l *MadeUpLiar) Announce(txs ...*wire.MsgTx) {
	ids := l.add(txs)
	for _, s := range l.greeted() {
		announce(s, ids)
	}
}

// announce announces transactions in messages of the size that nodes use. It returns false if the client has
// disconnected.
func announce(s *session, ids []chainhash.Hash) bool {
	const most = 1000
	for part := range slices.Chunk(ids, most) {
		inv := wire.NewMsgInv()
		for _, id := range part {
			inv.InvList = append(inv.InvList, wire.NewInvVect(wire.InvTypeTx, &id))
		}
		if !s.tell(inv) {
			return false
		}
	}
	return true
}

// LiarWrongTransactions starts a liar that changes each transaction that a client requests, so that its ID is another.
func LiarWrongTransactions(t testing.TB, addr, node string) *Liar {
	t.Helper()
	return startLiar(t, addr, node, changeLockTime(wire.CmdTx))
}

// LiarWrongBlocks starts a liar that changes a transaction in each block that a client requests. The header is the
// requested one, but the transactions are not those of the header.
func LiarWrongBlocks(t testing.TB, addr, node string) *Liar {
	t.Helper()
	return startLiar(t, addr, node, changeLockTime(wire.CmdBlock))
}

// changeLockTime changes the lock time of the only or last transaction in each message of a kind.
func changeLockTime(command string) lie {
	return lie{fromNode: func(_ *session, m message) []message {
		if m.command == command {
			m.payload = slices.Clone(m.payload)
			m.payload[len(m.payload)-1] ^= 1
		}
		return []message{m}
	}}
}

// LiarWitness starts a liar that changes the public key in the witness of each transaction that a client requests. The
// ID does not depend on the witness, so it is the requested one; the wtxid is not.
func LiarWitness(t testing.TB, addr, node string) *Liar {
	t.Helper()
	return startLiar(t, addr, node, lie{fromNode: func(_ *session, m message) []message {
		if m.command != wire.CmdTx {
			return []message{m}
		}
		tx, err := rawtx.Decode(m.payload)
		if err != nil {
			return []message{m}
		}
		for _, in := range tx.TxIn {
			if n := len(in.Witness); n > 0 && len(in.Witness[n-1]) > 0 {
				in.Witness[n-1][len(in.Witness[n-1])-1] ^= 1
			}
		}
		return []message{encode(tx)}
	}})
}

// LiarAddresses starts a liar that answers getaddr with addresses (host:port), which may be those of a network, or of
// other liars. It does not lie about anything else. btcd does not answer getaddr on simnet.
func LiarAddresses(t testing.TB, addr, node string, addresses ...string) *Liar {
	t.Helper()
	var list []*wire.NetAddressV2
	for _, text := range addresses {
		a, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		services := wire.SFNodeNetwork | wire.SFNodeWitness | wire.SFNodeNetworkLimited
		list = append(list, wire.NetAddressV2FromBytes(time.Now(), services, a.IP.To4(), uint16(a.Port)))
	}
	return startLiar(t, addr, node, lie{fromClient: func(s *session, m message) []message {
		switch m.command {
		case wire.CmdSendAddrV2:
			s.addrV2.Store(true)
		case wire.CmdGetAddr:
			for part := range slices.Chunk(list, wire.MaxAddrPerMsg) {
				if s.addrV2.Load() {
					s.tell(&wire.MsgAddrV2{AddrList: part})
					continue
				}
				var old wire.MsgAddr
				for _, a := range part {
					old.AddrList = append(old.AddrList, a.ToLegacy())
				}
				s.tell(&old)
			}
			return nil
		}
		return []message{m}
	}})
}

// LiarStalls starts a liar that never answers getdata, neither for transactions nor for blocks.
func LiarStalls(t testing.TB, addr, node string) *Liar {
	t.Helper()
	return startLiar(t, addr, node, lie{fromClient: func(_ *session, m message) []message {
		if m.command == wire.CmdGetData {
			return nil
		}
		return []message{m}
	}})
}

// LiarSilent starts a liar that accepts connections and reads, but sends nothing.
func LiarSilent(t testing.TB, addr, node string) *Liar {
	t.Helper()
	return startLiar(t, addr, node, lie{fromNode: func(*session, message) []message { return nil }})
}

// LiarFloods starts a liar that announces random IDs at a rate, and answers requests for them with notfound.
func LiarFloods(t testing.TB, addr, node string, perSecond int) *Liar {
	t.Helper()
	mark := [4]byte(randomHash()[:]) // begins each ID
	return startLiar(t, addr, node, lie{
		greet: func(s *session) {
			const interval = 10 * time.Millisecond
			ids := make([]chainhash.Hash, max(1, perSecond*int(interval)/int(time.Second)))
			ticker := time.NewTicker(interval)
			defer ticker.Stop()
			for {
				for i := range ids {
					ids[i] = *randomHash()
					copy(ids[i][:], mark[:])
				}
				if !announce(s, ids) {
					return
				}
				<-ticker.C
			}
		},
		fromClient: func(s *session, m message) []message {
			if m.command != wire.CmdGetData {
				return []message{m}
			}
			own, rest := split(m, func(iv *wire.InvVect) bool { return [4]byte(iv.Hash[:]) == mark })
			if len(own) > 0 {
				s.tell(&wire.MsgNotFound{InvList: own})
			}
			return rest
		},
	})
}

// LiarOtherNetwork starts a liar that sends messages of mainnet.
func LiarOtherNetwork(t testing.TB, addr, node string) *Liar {
	t.Helper()
	return startLiar(t, addr, node, lie{magic: wire.MainNet})
}

// Malformed returns messages that break the protocol's format, as bytes on the wire, by what is wrong with them. It
// includes transactions and a block at which the parsers of btcd 0.24.2 panic. So does each btcd peer that reads them:
// package peer does not recover.
func Malformed() map[string][]byte {
	magic := params.Net
	oversized := frame(magic, message{"inv", nil})
	binary.LittleEndian.PutUint32(oversized[lengthFrom:], wire.MaxMessagePayload+1)
	checksum := frame(magic, encode(wire.NewMsgPing(1)))
	checksum[sumFrom] ^= 1
	long := make([]byte, wire.MaxInvPerMsg*36+1000)
	all := map[string][]byte{
		"oversized":        oversized,
		"checksum":         checksum,
		"magic":            frame(wire.MainNet, encode(wire.NewMsgPing(1))),
		"short inv":        frame(magic, message{"inv", append([]byte{10}, make([]byte, 36)...)}),
		"huge count":       frame(magic, message{"inv", []byte{0xff, 0, 0, 0, 0, 0, 1, 0, 0}}),
		"long inv":         frame(magic, message{"inv", long}),
		"command":          frame(magic, message{"\xff\xfe", nil}),
		"unknown command":  frame(magic, message{"unheardof", []byte{1}}),
		"empty tx":         frame(magic, message{"tx", nil}),
		"second version":   frame(magic, message{"version", make([]byte, 85)}),
		"short headers":    frame(magic, message{"headers", append([]byte{1}, make([]byte, 40)...)}),
		"bytes after ping": frame(magic, message{"ping", make([]byte, 9)}),
	}
	for name, raw := range testblock.Hostile() {
		all["tx, "+name] = frame(magic, message{"tx", raw})
		header := make([]byte, wire.MaxBlockHeaderPayload)
		all["block, "+name] = frame(magic, message{"block", slices.Concat(header, []byte{1}, raw)})
	}
	return all
}

// LiarMalformed starts a liar that sends bytes after the handshake: see Malformed.
func LiarMalformed(t testing.TB, addr, node string, raw []byte) *Liar {
	t.Helper()
	return startLiar(t, addr, node, lie{greet: func(s *session) {
		s.lied()
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, err := s.client.Write(raw); err != nil {
			return // the client has disconnected
		}
	}})
}

// A HeaderLie is what is wrong with a chain of headers.
type HeaderLie int

// The lies about headers. The chains begin after the client's newest block, unless noted.
const (
	NoWork         HeaderLie = iota // the hashes are above the target
	EasierTarget                    // the target is above simnet's limit
	HarderTarget                    // the target is not the one that the chain's rules require; the work is done
	BrokenLink                      // the second header does not follow the first
	UnknownParent                   // the first header follows no known block
	FromFuture                      // the times are 3 h ahead; 2 h are allowed
	TimeTooOld                      // the times are before the chain's
	WithheldBlocks                  // the headers are valid, but there are no blocks
	HeaderLies                      // how many there are
)

// LiarHeaders starts a liar that answers getheaders with a false chain of count headers, and getdata for its blocks
// with notfound.
func LiarHeaders(t testing.TB, addr, node string, what HeaderLie, count int) *Liar {
	t.Helper()
	var mu sync.Mutex
	made := make(map[chainhash.Hash]bool)
	return startLiar(t, addr, node, lie{fromClient: func(s *session, m message) []message {
		switch m.command {
		case wire.CmdGetHeaders:
			locator, err := parseLocator(m.payload)
			if err != nil || len(locator) == 0 {
				return []message{m}
			}
			headers := falseHeaders(what, *locator[0], count)
			mu.Lock()
			if made[*locator[0]] { // the client accepted the chain: there is no more
				headers = nil
			}
			for _, h := range headers {
				made[h.BlockHash()] = true
			}
			mu.Unlock()
			s.tell(&wire.MsgHeaders{Headers: headers})
			return nil
		case wire.CmdGetData:
			mu.Lock()
			own, rest := split(m, func(iv *wire.InvVect) bool { return made[iv.Hash] })
			mu.Unlock()
			if len(own) > 0 {
				s.tell(&wire.MsgNotFound{InvList: own})
			}
			return rest
		default:
			return []message{m}
		}
	}})
}

// falseHeaders returns a chain of headers.
func falseHeaders(what HeaderLie, parent chainhash.Hash, count int) (headers []*wire.BlockHeader) {
	at, bits := time.Now(), params.PowLimitBits
	switch what {
	case EasierTarget:
		bits = 0x217fffff // 2^8 times simnet's limit
	case HarderTarget:
		bits = 0x2007ffff
	case UnknownParent:
		parent = *randomHash()
	case FromFuture:
		at = at.Add(3 * time.Hour)
	case TimeTooOld:
		at = params.GenesisBlock.Header.Timestamp.Add(-time.Hour)
	}
	for i := range count {
		if what == BrokenLink && i == 1 {
			parent = *randomHash()
		}
		h := wire.NewBlockHeader(4, &parent, randomHash(), bits, 0)
		h.Timestamp = time.Unix(at.Unix()+int64(i), 0)
		for meets(h) == (what == NoWork) {
			h.Nonce++
		}
		headers = append(headers, h)
		parent = h.BlockHash()
	}
	return headers
}

// meets reports whether a header's hash meets the header's own target.
func meets(h *wire.BlockHeader) bool {
	hash := h.BlockHash()
	return blockchain.HashToBig(&hash).Cmp(blockchain.CompactToBig(h.Bits)) <= 0
}

// randomHash returns a hash of nothing.
func randomHash() *chainhash.Hash {
	var h chainhash.Hash
	rand.Read(h[:])
	return &h
}
