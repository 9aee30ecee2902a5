// Package wstest has WebSocket clients for tests of the protocol itself. Each is one connection, which never reconnects;
// shared/client is the client that other programs have.
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

// TooMany is the close code for an address that has all the connections it may have.
const TooMany websocket.StatusCode = 4029

const (
	handshakeWithin = 20 * time.Second
	messageWithin   = 30 * time.Second // an edge sends one every 500 ms; a busy machine may take longer
	readLimit       = 1 << 20          // bytes of a message; a snapshot has about 50,000
)

// URL is that of the stream of an edge or a balancer at HOST:PORT.
func URL(addr string) string { return "ws://" + addr + "/ws/mempool" }

// From connects from an address of the loopback network.
func From(ip net.IP) *http.Transport {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}
	return &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
}

// Dial opens a connection that lasts until the test ends, from an address unless the options have an HTTP client or the
// address is nil.
func Dial(t testing.TB, url string, from net.IP, o websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), handshakeWithin)
	defer cancel()
	if o.HTTPClient == nil && from != nil {
		o.HTTPClient = &http.Client{Transport: From(from)}
	}
	conn, answer, err := websocket.Dial(ctx, url, &o)
	if err == nil {
		conn.SetReadLimit(readLimit)
		t.Cleanup(func() { conn.CloseNow() })
	}
	return conn, answer, err
}

// MustDial is Dial where the handshake has to succeed.
func MustDial(t testing.TB, url string, from net.IP, o websocket.DialOptions) *websocket.Conn {
	t.Helper()
	conn, _, err := Dial(t, url, from, o)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// Read returns the next message, which has to be text and to come within 30 s.
func Read(ctx context.Context, conn *websocket.Conn) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, messageWithin)
	defer cancel()
	return read(ctx, conn)
}

func read(ctx context.Context, conn *websocket.Conn) ([]byte, error) {
	kind, data, err := conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText {
		return nil, fmt.Errorf("a message of type %v, want text", kind)
	}
	return data, nil
}
