// Package connlimit wraps the public listener: it bounds how many TCP connections one address may hold, before anything is
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

	"sightglass/edge/limit"
	"sightglass/edge/realip"
	"sightglass/edge/rejection"
)

// Options bound what may connect.
type Options struct {
	MaxPerAddress int            // TCP connections for an IPv4 address or an IPv6 /64; proxies are not counted
	Proxies       realip.Proxies // those that connect for others
	ProxyProtocol bool           // whether each of those begins with a PROXY protocol header
	HeaderTimeout time.Duration  // how long that header may take
	Rejections    *rejection.Counter
}

// A Listener hands out connections whose RemoteAddr is the client's, as far as it is known without reading HTTP.
type Listener struct {
	*net.TCPListener
	opts      Options
	addresses *limit.Addresses
}

// New wraps ln.
func New(ln *net.TCPListener, o Options) *Listener {
	return &Listener{ln, o, limit.NewAddresses(o.MaxPerAddress)}
}

// Held is the number of TCP connections that are counted, those of proxies left out, and of addresses that hold them.
func (l *Listener) Held() (connections, addresses int) {
	return l.addresses.Total(), l.addresses.Len()
}

// Accept gives the next connection that may stay. Its error is the listener's end.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		tcp, err := l.AcceptTCP()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			l.awaitDescriptor()
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

// awaitDescriptor waits a little for a connection to close. The server takes an error for the listener's end, so a client
// that opens more connections than the process has descriptors would end the edge for everyone.
func (l *Listener) awaitDescriptor() {
	const little = 20 * time.Millisecond // the kernel keeps those who wait meanwhile
	l.opts.Rejections.Count(rejection.Descriptors)
	<-time.After(little)
}

// admit gives nil if the connection may not stay.
func (l *Listener) admit(tcp *net.TCPConn) net.Conn {
	peer := realip.Of(tcp.RemoteAddr())
	switch {
	case !l.opts.Proxies.Trust(peer):
		if !l.acquire(peer) {
			return nil
		}
		return &direct{TCPConn: tcp, addresses: l.addresses, peer: peer}
	case l.opts.ProxyProtocol:
		return newProxied(tcp, l)
	}
	return tcp
}

// acquire takes one of the address's connections; false if it holds too many.
func (l *Listener) acquire(addr netip.Addr) bool {
	if l.addresses.Acquire(context.Background(), addr) != rejection.None {
		l.opts.Rejections.Count(rejection.Sockets)
		return false
	}
	return true
}

// direct is a client's own connection.
type direct struct {
	*net.TCPConn
	addresses *limit.Addresses
	peer      netip.Addr
	closed    atomic.Bool
}

// Close also releases the address's connection, once.
func (c *direct) Close() error {
	err := c.TCPConn.Close()
	if !c.closed.Swap(true) {
		c.addresses.Release(c.peer)
	}
	return err
}
