package redisurl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// secure completes the library's TLS configuration, nil for none. If there are several hosts, each is verified by its
// own name.
func (o Options) secure(c *tls.Config, several bool) (*tls.Config, error) {
	if c == nil {
		if o.CA != "" || o.Cert != "" || o.Key != "" {
			return nil, errors.New("--redis-ca, --redis-cert and --redis-key require TLS in --redis: want rediss://, rediss+sentinel:// or rediss+cluster://")
		}
		return nil, nil
	}
	c.MinVersion = tls.VersionTLS12
	if several {
		c.ServerName = "" // the dialer uses the host of the address
	}
	var err error
	if c.RootCAs, err = o.readCA(); err != nil {
		return nil, err
	}
	if (o.Cert == "") != (o.Key == "") {
		return nil, errors.New("--redis-cert and --redis-key must be set together: one of them is missing")
	}
	if o.Cert == "" {
		return c, nil
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.readCert() }
	_, err = o.readCert()
	return c, err
}

// readCA returns nil for the system's CAs.
func (o Options) readCA() (*x509.CertPool, error) {
	if o.CA == "" {
		return nil, nil
	}
	text, err := os.ReadFile(o.CA)
	if err != nil {
		return nil, fmt.Errorf("--redis-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--redis-ca %s: no certificate in PEM (-----BEGIN CERTIFICATE-----)", o.CA)
	}
	return pool, nil
}

func (o Options) readCert() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err != nil {
		return nil, fmt.Errorf("--redis-cert, --redis-key: %w", err)
	}
	return &cert, nil
}

// dialer returns the library's dialer, with errors that say what to do.
func dialer(c *tls.Config) dialFunc {
	dial := redis.NewDialer(&redis.Options{DialTimeout: timeout, TLSConfig: c})
	if c == nil {
		return keepRejections(dial)
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, advise(err)
		}
		return &secured{Conn: conn}, nil
	}
}

// advise adds to an error of a handshake what to do.
func advise(err error) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%w (--redis-ca must name a file with the CA that signed Redis's certificate)", err)
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("%w (the host in --redis, or the one that Sentinel or Cluster announce, must be a name or address in Redis's certificate)", err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no TLS handshake: %w (does this port of Redis use TLS? Without TLS use redis://)", err)
	}
	return err
}

// A secured connection may be rejected after the handshake: in TLS 1.3 a client learns only at its first read or write
// that the server rejects its certificate, by an alert or a closed connection.
type secured struct {
	net.Conn
	answered atomic.Bool
}

// errCertificate is a variable because go-redis unwraps an error of a new connection once, but not one with two wrapped
// errors.
var errCertificate = errors.New("--redis-cert and --redis-key must be signed by the CA of its tls-ca-cert-file")

func (c *secured) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.answered.Store(true)
	}
	return n, c.advise(err)
}

func (c *secured) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.advise(err)
}

func (c *secured) advise(err error) error {
	if err == nil || c.answered.Load() || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("redis closed the connection right after the TLS handshake: %w (%w)", err, errCertificate)
}
