package redisurl

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// A rejection is the error that Redis sends before it closes a new connection, such as too many clients or protected
// mode. go-redis takes the first error of a connection for that of an old server without HELLO, continues, and reports
// a broken connection.
type rejection string

var _ redis.Error = rejection("")

func (r rejection) Error() string { return string(r) }

// RedisError marks it as an error that Redis returned.
func (rejection) RedisError() {}

// maxRejection bounds the text of a rejection, in bytes. The rest of a longer line is cut off.
const maxRejection = 200

// A newConn stores the first response of Redis on a connection if that is an error. If nothing else follows, Read and
// Write return it instead of the network's error.
type newConn struct {
	*net.TCPConn
	answered  atomic.Bool
	rejection atomic.Pointer[rejection] // nil: none, or more responses followed
}

// keepRejections makes a dialer's connections return rejections.
func keepRejections(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
			return &newConn{TCPConn: tcp}, nil
		}
		return conn, err
	}
}

func (c *newConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if n > 0 {
		c.record(b[:n])
	}
	return n, c.explain(err)
}

func (c *newConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	return n, c.explain(err)
}

func (c *newConn) record(b []byte) {
	if c.answered.Swap(true) || b[0] != '-' {
		c.rejection.Store(nil)
		return
	}
	line, _, _ := bytes.Cut(b[1:min(len(b), maxRejection)], []byte("\r\n"))
	r := rejection(line)
	c.rejection.Store(&r)
}

func (c *newConn) explain(err error) error {
	if r := c.rejection.Load(); r != nil && err != nil {
		return *r
	}
	return err
}
