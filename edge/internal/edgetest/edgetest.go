// Package edgetest has what tests of several of the edge's packages share.
package edgetest

import (
	"bytes"
	"encoding/json"
	"net"
	"sync"
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

// A Log is a log in JSON that may be read while it is written.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// Lines returns the attributes of all lines.
func (l *Log) Lines(t testing.TB) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.text.Bytes()) {
		var attrs map[string]any
		if err := json.Unmarshal(line, &attrs); err != nil {
			t.Fatalf("got %v from the line %s", err, line)
		}
		all = append(all, attrs)
	}
	return all
}

// Find returns the attributes of the first line with a message; nil if there is none.
func (l *Log) Find(t testing.TB, message string) map[string]any {
	t.Helper()
	for _, line := range l.Lines(t) {
		if line["msg"] == message {
			return line
		}
	}
	return nil
}
