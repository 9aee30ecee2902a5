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
	// nginx's stream module writes IPv4 addresses into TCP6 lines when it is reached by one family and reaches us by the
	// other. The specification forbids it, and nothing else can be meant.
	proxyproto.V1AcceptIPv4InTCP6 = true
}

var (
	errNoHeader = errors.New("a proxy's connection did not begin with a PROXY protocol header")
	errTooMany  = errors.New("too many connections from the address in the PROXY protocol header")
)

// proxied is a connection from a proxy that says by the PROXY protocol whose it is. It must say so: a specification that
// lets the receiver guess would let a client speak in a proxy's place. LOCAL and UNKNOWN are the proxy itself, as in its
// health checks, and are not counted. The header is read by the first Read, so a slow one keeps nobody else waiting.
type proxied struct {
	*proxyproto.Conn
	tcp *net.TCPConn
	l   *Listener

	first    sync.Once
	rejected error

	mu     sync.Mutex
	client netip.Addr // the zero address is one too: a client that did not come over TCP
	held   bool
	closed bool
}

func newProxied(tcp *net.TCPConn, l *Listener) *proxied {
	conn := proxyproto.NewConn(tcp,
		proxyproto.WithPolicy(proxyproto.REQUIRE),
		proxyproto.SetReadHeaderTimeout(l.opts.HeaderTimeout))
	return &proxied{Conn: conn, tcp: tcp, l: l}
}

// SyscallConn is the socket beneath, once the header has been read.
func (c *proxied) SyscallConn() (syscall.RawConn, error) { return c.tcp.SyscallConn() }

// Read takes the header first, and the client's place.
func (c *proxied) Read(b []byte) (int, error) {
	c.first.Do(func() { c.rejected = c.admit() })
	if c.rejected != nil {
		return 0, c.rejected
	}
	return c.Conn.Read(b)
}

func (c *proxied) admit() error {
	if c.ProxyHeader() == nil {
		c.l.opts.Rejections.Count(rejection.ProxyHeader)
		return errNoHeader
	}
	client := realip.Of(c.RemoteAddr())
	if c.l.opts.Proxies.Trust(client) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if !c.l.acquire(client) {
		return errTooMany
	}
	c.client, c.held = client, true
	return nil
}

// Close also releases the address's connection, once.
func (c *proxied) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held {
		c.l.addresses.Release(c.client)
	}
	c.held, c.closed = false, true
	return err
}
