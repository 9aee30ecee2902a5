// Package connlimit wraps the public listener. It bounds how many TCP connections one address may hold, before anything is
// read from them, and it reads the PROXY protocol.
package connlimit

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"

	"sightglass/edge/limit"
	"sightglass/edge/realip"
	"sightglass/edge/rejection"
)

// Options configure a Listener.
type Options struct {
	MaxPerAddress int            // TCP connections of an IPv4 address or an IPv6 /64; proxies are not counted
	Proxies       realip.Proxies // connect on behalf of clients
	ProxyProtocol bool           // proxies begin each connection with a PROXY protocol header
	HeaderTimeout time.Duration  // maximum time to receive that header
	Rejections    *rejection.Counter
}

// A Listener accepts connections. RemoteAddr returns the client's address: the peer's, or the one in the PROXY protocol
// header.
type Listener struct {
	*net.TCPListener
	opts      Options
	addresses *limit.Addresses
}

// New returns a Listener that accepts from ln.
func New(ln *net.TCPListener, o Options) *Listener {
	return &Listener{ln, o, limit.NewAddresses(o.MaxPerAddress)}
}

// Held returns the number of open TCP connections, without those of proxies, and the number of addresses that hold them.
func (l *Listener) Held() (connections, addresses int) {
	return l.addresses.Total(), l.addresses.Len()
}

// Accept returns the next connection within the limit and closes those over it. An error means that the listener is closed.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		tcp, err := l.AcceptTCP()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			// The server would stop at this error, so a client that opens more connections than the process has descriptors
			// would stop the edge. The kernel queues new connections meanwhile.
			l.opts.Rejections.Count(rejection.Descriptors)
			<-time.After(descriptorWait)
			continue
		}
		if err != nil {
			return nil, err
		}
		if conn := l.admit(tcp); conn != nil {
			return conn, nil
		}
		tcp.Close()
	}
}

// descriptorWait is the interval between attempts to accept while the process has no file descriptor left.
const descriptorWait = 20 * time.Millisecond

// admit returns nil if the connection is over the limit.
func (l *Listener) admit(tcp *net.TCPConn) net.Conn {
	peer := realip.Of(tcp.RemoteAddr())
	switch {
	case !l.opts.Proxies.Trust(peer):
		if !l.acquire(peer) {
			return nil
		}
		return &direct{TCPConn: tcp, addresses: l.addresses, peer: peer}
	case l.opts.ProxyProtocol:
		conn := proxyproto.NewConn(tcp,
			proxyproto.WithPolicy(proxyproto.REQUIRE),
			proxyproto.SetReadHeaderTimeout(l.opts.HeaderTimeout))
		return &proxied{Conn: conn, tcp: tcp, listener: l}
	}
	return tcp
}

// acquire counts a connection of the address. It reports false, and counts the rejection, if the address is at its
// limit.
func (l *Listener) acquire(addr netip.Addr) bool {
	if l.addresses.Acquire(context.Background(), addr) != rejection.None {
		l.opts.Rejections.Count(rejection.Sockets)
		return false
	}
	return true
}

// A direct is a connection from a client itself.
type direct struct {
	*net.TCPConn
	addresses *limit.Addresses
	peer      netip.Addr
	closed    atomic.Bool
}

// Close closes the connection and releases the address's connection, once.
func (c *direct) Close() error {
	err := c.TCPConn.Close()
	if !c.closed.Swap(true) {
		c.addresses.Release(c.peer)
	}
	return err
}
