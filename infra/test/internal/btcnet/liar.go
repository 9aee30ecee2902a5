package btcnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// A Liar is a peer that accepts connections, and passes all messages between each client and an honest node, except
// where it lies. So it speaks the protocol as the node does, and has the node's chain and transactions. It closes a
// client's connection when the node closes its own. It is stopped when the test ends.
//
// The honest node sees a client's requests as coming from the liar's address, so it can ban the liar for them.
type Liar struct {
	addr, node string // host:port
	lie        lie

	listener net.Listener
	ctx      context.Context // ends when the liar is closed
	done     sync.WaitGroup

	mu       sync.Mutex
	sessions map[*session]bool // and whether the handshake is complete
	received map[string]int    // messages of clients, by command
	lies     int
}

// A lie is what a Liar does to its clients. Each part may be nil, and is called for several sessions at once.
type lie struct {
	magic      wire.BitcoinNet                   // of messages to clients; 0: the network's
	greet      func(*session)                    // runs once the handshake is complete, in its own goroutine
	fromNode   func(*session, message) []message // what the client gets instead
	fromClient func(*session, message) []message // what the node gets instead
}

// A message is one message of the protocol, not parsed.
type message struct {
	command string
	payload []byte
}

// liarAddrs counts the addresses that were given to liars.
var liarAddrs atomic.Int32

// LiarAddr returns an unused address for a liar, in a /16 without any node.
func LiarAddr(t testing.TB) string {
	t.Helper()
	const first, count = 101, 150
	return freeAddr(t, fmt.Sprintf("127.%d.0.1", first+int(liarAddrs.Add(1)-1)%count))
}

// startLiar starts a liar at addr that passes messages from and to node.
func startLiar(t testing.TB, addr, node string, lie lie) *Liar {
	t.Helper()
	if lie.magic == 0 {
		lie.magic = params.Net
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Liar{
		addr: addr, node: node, lie: lie, listener: listener, ctx: ctx,
		sessions: make(map[*session]bool), received: make(map[string]int),
	}
	l.done.Go(l.accept)
	t.Cleanup(func() {
		stop()
		listener.Close()
		l.Disconnect()
		l.done.Wait()
	})
	return l
}

// Relay starts a peer that does not lie.
func Relay(t testing.TB, addr, node string) *Liar { return startLiar(t, addr, node, lie{}) }

// Addr returns the address at which clients connect.
func (l *Liar) Addr() string { return l.addr }

// Clients returns how many clients have completed the handshake and are connected.
func (l *Liar) Clients() int { return len(l.greeted()) }

// Received returns how many messages with a command clients have sent.
func (l *Liar) Received(command string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.received[command]
}

// Lies returns how many false messages were sent to clients, and how many of theirs were not answered.
func (l *Liar) Lies() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lies
}

// Disconnect closes all connections. Clients may connect again.
func (l *Liar) Disconnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.sessions {
		s.close()
	}
}

func (l *Liar) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		l.done.Go(func() { l.serve(conn) })
	}
}

// serve passes messages between a client and the node until one of them disconnects.
func (l *Liar) serve(client net.Conn) {
	defer client.Close()
	host, _, _ := net.SplitHostPort(l.addr)
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	node, err := from.DialContext(l.ctx, "tcp", l.node)
	if err != nil {
		return // the node was killed
	}
	s := &session{liar: l, client: client, node: node}
	defer s.close()
	l.mu.Lock()
	l.sessions[s] = false
	l.mu.Unlock()
	defer l.forget(s)
	if l.ctx.Err() != nil {
		return // Disconnect may not have seen this session
	}
	var both sync.WaitGroup
	both.Go(func() { defer s.close(); s.passToClient() })
	both.Go(func() { defer s.close(); s.passToNode() })
	both.Wait()
	s.greet.Wait() // it ends, since the connection is closed
}

func (l *Liar) forget(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, s)
}

// greeted returns the sessions whose handshake is complete.
func (l *Liar) greeted() (sessions []*session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, greeted := range l.sessions {
		if greeted {
			sessions = append(sessions, s)
		}
	}
	return sessions
}

// A session is one client's connection, and its connection to the node.
type session struct {
	liar         *Liar
	client, node net.Conn
	addrV2       atomic.Bool // the client has sent sendaddrv2

	mu      sync.Mutex // guards writes to client
	veracks atomic.Int32
	greet   sync.WaitGroup
}

func (s *session) close() {
	s.client.Close()
	s.node.Close()
}

func (s *session) passToClient() {
	for {
		m, err := readMessage(s.node)
		if err != nil {
			return
		}
		for _, m := range s.change(s.liar.lie.fromNode, m) {
			if s.send(m) != nil {
				return
			}
		}
		s.note(m)
	}
}

func (s *session) passToNode() {
	for {
		m, err := readMessage(s.client)
		if err != nil {
			return
		}
		s.liar.mu.Lock()
		s.liar.received[m.command]++
		s.liar.mu.Unlock()
		for _, m := range s.change(s.liar.lie.fromClient, m) {
			if writeMessage(s.node, params.Net, m) != nil {
				return
			}
		}
		s.note(m)
	}
}

// note starts the greeting after the second verack: btcd disconnects a peer that sends anything else between its
// version and its verack.
func (s *session) note(m message) {
	if m.command != wire.CmdVerAck || s.veracks.Add(1) < 2 {
		return
	}
	s.liar.mu.Lock()
	s.liar.sessions[s] = true
	s.liar.mu.Unlock()
	if s.liar.lie.greet != nil {
		s.greet.Go(func() { s.liar.lie.greet(s) })
	}
}

// change applies one part of the lie, and counts it if it made a difference.
func (s *session) change(part func(*session, message) []message, m message) []message {
	if part == nil {
		return []message{m}
	}
	changed := part(s, m)
	if len(changed) != 1 || !bytes.Equal(changed[0].payload, m.payload) {
		s.lied()
	}
	return changed
}

func (s *session) lied() {
	s.liar.mu.Lock()
	defer s.liar.mu.Unlock()
	s.liar.lies++
}

// send sends a message to the client.
func (s *session) send(m message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return writeMessage(s.client, s.liar.lie.magic, m)
}

// tell sends a false message to the client. It returns false if the client has disconnected.
func (s *session) tell(m wire.Message) bool {
	s.lied()
	return s.send(encode(m)) == nil
}

// A header of a message is the magic number of the network, the command, the payload's length and its checksum.
const (
	headerSize  = wire.MessageHeaderSize
	commandFrom = 4
	lengthFrom  = commandFrom + wire.CommandSize
	sumFrom     = lengthFrom + 4
)

func readMessage(r io.Reader) (m message, err error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return message{}, err
	}
	size := binary.LittleEndian.Uint32(header[lengthFrom:])
	if size > wire.MaxMessagePayload {
		return message{}, fmt.Errorf("a payload of %d bytes", size)
	}
	m.command = string(bytes.TrimRight(header[commandFrom:lengthFrom], "\x00"))
	m.payload = make([]byte, size)
	_, err = io.ReadFull(r, m.payload)
	return m, err
}

func writeMessage(w io.Writer, magic wire.BitcoinNet, m message) error {
	_, err := w.Write(frame(magic, m))
	return err
}

// frame returns the bytes of a message on the wire.
func frame(magic wire.BitcoinNet, m message) []byte {
	header := make([]byte, headerSize)
	binary.LittleEndian.PutUint32(header, uint32(magic))
	copy(header[commandFrom:lengthFrom], m.command)
	binary.LittleEndian.PutUint32(header[lengthFrom:], uint32(len(m.payload)))
	copy(header[sumFrom:], chainhash.DoubleHashB(m.payload))
	return append(header, m.payload...)
}

// encode serialises a message of our own.
func encode(m wire.Message) message {
	var payload bytes.Buffer
	if err := m.BtcEncode(&payload, wire.ProtocolVersion, wire.WitnessEncoding); err != nil {
		panic(fmt.Sprintf("encoding %s: %v", m.Command(), err))
	}
	return message{m.Command(), payload.Bytes()}
}

// parseInventory parses the payload of inv, getdata and notfound.
func parseInventory(payload []byte) ([]*wire.InvVect, error) {
	var inv wire.MsgInv
	err := inv.BtcDecode(bytes.NewReader(payload), wire.ProtocolVersion, wire.BaseEncoding)
	return inv.InvList, err
}

// parseLocator parses the payload of getheaders, and returns the hashes that the client has, newest first.
func parseLocator(payload []byte) ([]*chainhash.Hash, error) {
	var get wire.MsgGetHeaders
	err := get.BtcDecode(bytes.NewReader(payload), wire.ProtocolVersion, wire.BaseEncoding)
	return get.BlockLocatorHashes, err
}

// isTx reports whether a requested item is a transaction, with or without witness.
func isTx(iv *wire.InvVect) bool {
	return iv.Type == wire.InvTypeTx || iv.Type == wire.InvTypeWitnessTx
}

// split divides a getdata into the items that are ours, and the message that the node gets about the others.
func split(m message, ours func(*wire.InvVect) bool) (own []*wire.InvVect, rest []message) {
	items, err := parseInventory(m.payload)
	if err != nil {
		return nil, []message{m}
	}
	others := wire.NewMsgGetData()
	for _, iv := range items {
		if ours(iv) {
			own = append(own, iv)
		} else {
			others.InvList = append(others.InvList, iv)
		}
	}
	if len(own) == 0 {
		return nil, []message{m}
	}
	if len(others.InvList) > 0 {
		rest = []message{encode(others)}
	}
	return own, rest
}
