// Package wstest provides WebSocket clients for tests of the protocol itself. A client is one connection and never
// reconnects. Other tests use shared/client.
package wstest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TooMany is the close code for an address that has reached its connection limit.
const TooMany websocket.StatusCode = 4029

const (
	handshakeTimeout = 20 * time.Second
	messageTimeout   = 30 * time.Second // an edge sends a message every 500 ms; a busy machine may take longer
	readLimit        = 1 << 20          // bytes per message; a snapshot has about 50,000
)

// URL returns the stream's URL of an edge or a load balancer at HOST:PORT.
func URL(addr string) string { return "ws://" + addr + "/ws/mempool" }

// TransportFrom returns a transport that connects from a source address of the loopback network.
func TransportFrom(ip net.IP) *http.Transport {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}
	return &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
}

// Dial opens a connection, which is closed when the test ends. from is the source address; it is ignored if it is nil or
// the options have an HTTP client.
func Dial(t testing.TB, url string, from net.IP, o websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), handshakeTimeout)
	defer cancel()
	if o.HTTPClient == nil && from != nil {
		o.HTTPClient = &http.Client{Transport: TransportFrom(from)}
	}
	conn, response, err := websocket.Dial(ctx, url, &o)
	if err == nil {
		conn.SetReadLimit(readLimit)
		t.Cleanup(func() { conn.CloseNow() })
	}
	return conn, response, err
}

// MustDial is like Dial, but fails the test if the handshake fails.
func MustDial(t testing.TB, url string, from net.IP, o websocket.DialOptions) *websocket.Conn {
	t.Helper()
	conn, _, err := Dial(t, url, from, o)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// Read returns the next message. It returns an error if the message is not text or does not arrive within 30 s.
func Read(ctx context.Context, conn *websocket.Conn) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, messageTimeout)
	defer cancel()
	return read(ctx, conn)
}

func read(ctx context.Context, conn *websocket.Conn) ([]byte, error) {
	kind, data, err := conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText {
		return nil, fmt.Errorf("message of type %v, want text", kind)
	}
	return data, nil
}
