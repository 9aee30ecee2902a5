//go:build deploy

package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/wstest"
)

// shortTimeouts divides the timeouts by 20, like the ping interval of the tests' edges.
func shortTimeouts(config string) string {
	return strings.NewReplacer(
		"timeout tunnel          75s", "timeout tunnel 3750ms",
		"proxy_read_timeout 75s", "proxy_read_timeout 3750ms", "proxy_send_timeout 75s", "proxy_send_timeout 3750ms",
		"timeout http-request    10s", "timeout http-request 500ms", "client_header_timeout 10s", "client_header_timeout 500ms",
	).Replace(config)
}

// TestBalancer_KeepsQuietClient: the connection carries only pings, for twice the timeout of a silent connection.
func TestBalancer_KeepsQuietClient(t *testing.T) {
	build(t, shortTimeouts, []string{"--ping-interval", "1s"}, func(t *testing.T, env *environment) {
		env.silence()
		const pings = 9
		if got := pingsUntilCut(t, env, pings); got < pings {
			t.Errorf("got cut off after %d pings, want the connection kept", got)
		}
	})
}

// TestBalancer_CutsSilentEdge: with rare pings the timeout ends the connection, so the other test is effective.
func TestBalancer_CutsSilentEdge(t *testing.T) {
	build(t, shortTimeouts, []string{"--ping-interval", "1m"}, func(t *testing.T, env *environment) {
		env.silence()
		if got := pingsUntilCut(t, env, 1); got > 0 {
			t.Error("got a connection after a minute of silence, want it cut")
		}
	})
}

// pingsUntilCut counts the pings that a client gets, up to most. Pings before the last message, the stale snapshot, do
// not count.
func pingsUntilCut(t *testing.T, env *environment, most int64) (n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var pings atomic.Int64
	conn, _, err := wstest.Dial(t, wstest.URL(env.lb.addr), source(0), websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool {
		if pings.Add(1) == most {
			cancel()
		}
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := conn.Read(ctx); err != nil {
			return pings.Load()
		}
		pings.Store(0)
	}
}

// TestBalancer_CutsSlowRequest: a client that does not finish its headers is disconnected.
func TestBalancer_CutsSlowRequest(t *testing.T) {
	build(t, shortTimeouts, nil, func(t *testing.T, env *environment) {
		conn, err := net.Dial("tcp", env.lb.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn) // HAProxy responds with 408, nginx resets
		if errors.Is(err, os.ErrDeadlineExceeded) || (len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 408 ")) {
			t.Errorf("got %q, %v, want 408 or a closed connection", answer, err)
		}
	})
}

// TestHAProxy_LimitsConnectionsPerAddress: HAProxy counts connections before it reads from them. nginx cannot count
// silent ones, which only client_header_timeout ends.
func TestHAProxy_LimitsConnectionsPerAddress(t *testing.T) {
	t.Setenv("SOCKETS_PER_ADDRESS", "3")
	env := newEnvironment(t, programs.Build(t, "edge", "edge"), haproxy, asShipped, nil)
	first := request(t, env.lb.addr, source(0))
	for _, conn := range []net.Conn{first, request(t, env.lb.addr, source(0)), request(t, env.lb.addr, source(0)), request(t, env.lb.addr, source(1))} {
		if conn == nil {
			t.Fatal("got a rejected connection within the limit, want it accepted")
		}
	}
	if request(t, env.lb.addr, source(0)) != nil {
		t.Error("got a response on the address's fourth connection, want it rejected")
	}
	first.Close()
	programs.Until(t, "one connection to be released", func() bool { return request(t, env.lb.addr, source(0)) != nil })
}

// request connects from an address and keeps the connection after a response; it returns nil without one. HAProxy may end
// a rejected connection before the client knows that it is established.
func request(t *testing.T, addr string, from net.IP) net.Conn {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	conn, err := dialer.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return nil
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return nil
	}
	if _, err := conn.Read(make([]byte, 1000)); err != nil {
		return nil
	}
	return conn
}
