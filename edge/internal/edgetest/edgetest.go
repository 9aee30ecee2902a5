// Package edgetest has what tests of several of the edge's packages share.
package edgetest

import (
	"net"
	"testing"
	"time"
)

// Dial connects to addr from an address of the loopback network. The connection is closed when the test ends.
func Dial(t testing.TB, addr net.Addr, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Until polls a condition, and fails the test if it is not met within 30 s.
func Until(t testing.TB, what string, met func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !met() {
		select {
		case <-deadline:
			t.Fatalf("waited 30 s for %s", what)
		case <-poll.C:
		}
	}
}
