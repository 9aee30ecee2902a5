package redisurl

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// A refusal is what Redis answered before it closed a new connection: that it has too many, or that it is in protected
// mode. go-redis takes the first error of a connection for that of an old server that does not know HELLO, goes on, and
// reports that the link is broken.
type refusal string

var _ redis.Error = refusal("")

func (r refusal) Error() string { return string(r) }

// RedisError marks it as an answer.
func (refusal) RedisError() {}

// longestRefusal bounds what is kept of an answer, in bytes: the line, or the beginning of a long one.
const longestRefusal = 200

// A newConn keeps the first thing that Redis says on a connection if that is an error, and gives it in the place of the
// network's error if Redis then says nothing else.
type newConn struct {
	*net.TCPConn
	answered atomic.Bool
	refusal  atomic.Pointer[refusal] // nil: there is none, or Redis has gone on
}

// refusing makes a dialer's connections keep refusals.
func refusing(dial dialFunc) dialFunc {
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
		c.hear(b[:n])
	}
	return n, c.explain(err)
}

func (c *newConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	return n, c.explain(err)
}

func (c *newConn) hear(b []byte) {
	if c.answered.Swap(true) || b[0] != '-' {
		c.refusal.Store(nil)
		return
	}
	line, _, _ := bytes.Cut(b[1:min(len(b), longestRefusal)], []byte("\r\n"))
	r := refusal(line)
	c.refusal.Store(&r)
}

func (c *newConn) explain(err error) error {
	if r := c.refusal.Load(); r != nil && err != nil {
		return *r
	}
	return err
}
