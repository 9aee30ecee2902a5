package connlimit

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/pires/go-proxyproto"

	"sightglass/edge/realip"
	"sightglass/edge/rejection"
)

func init() {
	// nginx's stream module writes IPv4 addresses into TCP6 lines if clients and upstream use different families. The
	// specification forbids it, but the meaning is unambiguous.
	proxyproto.V1AcceptIPv4InTCP6 = true
}

var (
	errNoHeader = errors.New("a proxy's connection did not begin with a PROXY protocol header")
	errTooMany  = errors.New("too many connections from the address in the PROXY protocol header")
)

// A proxied is a connection from a proxy that names the client by the PROXY protocol. The header is required: if it were
// optional, clients could write one themselves. LOCAL and UNKNOWN stand for the proxy itself, as in health checks, and are
// not counted. The first Read reads the header, so a slow one does not delay other connections.
type proxied struct {
	*proxyproto.Conn
	tcp      *net.TCPConn
	listener *Listener

	first    sync.Once
	rejected error

	mu     sync.Mutex
	client netip.Addr // the zero address if the client did not connect over TCP
	held   bool
	closed bool
}

// SyscallConn returns the TCP socket. Call it after the header has been read.
func (c *proxied) SyscallConn() (syscall.RawConn, error) { return c.tcp.SyscallConn() }

// Read reads the header first and counts the client's connection.
func (c *proxied) Read(b []byte) (int, error) {
	c.first.Do(func() { c.rejected = c.admit() })
	if c.rejected != nil {
		return 0, c.rejected
	}
	return c.Conn.Read(b)
}

func (c *proxied) admit() error {
	if c.ProxyHeader() == nil {
		c.listener.opts.Rejections.Count(rejection.ProxyHeader)
		return errNoHeader
	}
	client := realip.Of(c.RemoteAddr())
	if c.listener.opts.Proxies.Trust(client) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if !c.listener.acquire(client) {
		return errTooMany
	}
	c.client, c.held = client, true
	return nil
}

// Close closes the connection and releases the client's connection, once.
func (c *proxied) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held {
		c.listener.addresses.Release(c.client)
	}
	c.held, c.closed = false, true
	return err
}
