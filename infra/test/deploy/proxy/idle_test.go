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

// hurried makes the timeouts as much shorter as the ping interval of the tests' edges is: 20 times.
func hurried(config string) string {
	return strings.NewReplacer(
		"timeout tunnel          75s", "timeout tunnel 3750ms",
		"proxy_read_timeout 75s", "proxy_read_timeout 3750ms", "proxy_send_timeout 75s", "proxy_send_timeout 3750ms",
		"timeout http-request    10s", "timeout http-request 500ms", "client_header_timeout 10s", "client_header_timeout 500ms",
	).Replace(config)
}

// TestBalancer_KeepsQuietClient: nothing comes but pings, for twice the time after which the balancer cuts a silent connection.
func TestBalancer_KeepsQuietClient(t *testing.T) {
	build(t, hurried, []string{"--ping-interval", "1s"}, func(t *testing.T, env *environment) {
		env.silence()
		const pings = 9
		if got := pingsUntilCut(t, env, pings); got < pings {
			t.Errorf("cut off after %d pings", got)
		}
	})
}

// TestBalancer_CutsSilentEdge shows that the timeout of the other test is there: with pings too seldom it strikes.
func TestBalancer_CutsSilentEdge(t *testing.T) {
	build(t, hurried, []string{"--ping-interval", "1m"}, func(t *testing.T, env *environment) {
		env.silence()
		if got := pingsUntilCut(t, env, 1); got > 0 {
			t.Error("the connection outlasted a minute of silence")
		}
	})
}

// pingsUntilCut counts the pings that a client gets, up to so many. Those that come before the last message, by which the
// edge says that the snapshot is stale, do not count.
func pingsUntilCut(t *testing.T, env *environment, most int64) (n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var pings atomic.Int64
	conn, _, err := wstest.Dial(t, wstest.URL(env.lb.addr), person(0), websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool {
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

// TestBalancer_CutsSlowRequest: who does not finish its headers does not hold a place.
func TestBalancer_CutsSlowRequest(t *testing.T) {
	build(t, hurried, nil, func(t *testing.T, env *environment) {
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
		answer, err := io.ReadAll(conn) // HAProxy says 408, nginx resets
		if errors.Is(err, os.ErrDeadlineExceeded) || (len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 408 ")) {
			t.Errorf("it is not cut: %q, %v", answer, err)
		}
	})
}

// TestHAProxy_LimitsConnectionsPerAddress: HAProxy counts connections before anything is read. nginx cannot count those that
// send nothing, and has client_header_timeout alone against them.
func TestHAProxy_LimitsConnectionsPerAddress(t *testing.T) {
	t.Setenv("SOCKETS_PER_ADDRESS", "3")
	env := newEnvironment(t, programs.Build(t, "edge", "edge"), haproxy, asShipped, nil)
	first := visit(t, env.lb.addr, person(0))
	for _, conn := range []net.Conn{first, visit(t, env.lb.addr, person(0)), visit(t, env.lb.addr, person(0)), visit(t, env.lb.addr, person(1))} {
		if conn == nil {
			t.Fatal("a connection within the limit is refused")
		}
	}
	if visit(t, env.lb.addr, person(0)) != nil {
		t.Error("the fourth connection of an address is answered")
	}
	first.Close()
	programs.Until(t, "a place to be free", func() bool { return visit(t, env.lb.addr, person(0)) != nil })
}

// visit connects from an address and stays after an answer; it gives nil if there is none. A connection that HAProxy
// rejects may end before it is known here to have begun.
func visit(t *testing.T, addr string, from net.IP) net.Conn {
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
