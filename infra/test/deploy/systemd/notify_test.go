//go:build deploy

// Package systemd tests the units in infra/systemd and the programs' notifications to systemd.
package systemd

import (
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
)

// A supervisor is systemd's end of sd_notify: a socket that programs write to.
type supervisor struct {
	mu       sync.Mutex
	received []string
}

// supervise sets the environment of programs that are started later as systemd does.
func supervise(t *testing.T, watchdogMicroseconds string) *supervisor {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	s := &supervisor{}
	var listening sync.WaitGroup
	listening.Go(func() { s.listen(conn) })
	t.Cleanup(func() { conn.Close(); listening.Wait() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", watchdogMicroseconds)
	return s
}

func (s *supervisor) listen(conn *net.UnixConn) {
	message := make([]byte, 4096)
	for {
		n, err := conn.Read(message)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.received = append(s.received, strings.Fields(string(message[:n]))...)
		s.mu.Unlock()
	}
}

// count returns how often a state was received.
func (s *supervisor) count(state string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.received {
		if h == state {
			n++
		}
	}
	return n
}

func (s *supervisor) first() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.received) == 0 {
		return ""
	}
	return s.received[0]
}

const (
	ready    = "READY=1"
	stopping = "STOPPING=1"
	watchdog = "WATCHDOG=1"
)

// TestEdge_NotifiesSystemd: the edge sends READY when its port is open, with or without Redis; WATCHDOG while it can
// mark snapshots as stale; and STOPPING when the drain begins, not when it ends.
func TestEdge_NotifiesSystemd(t *testing.T) {
	systemd := supervise(t, "12000000")
	addr := programs.FreeAddr(t)
	edge := programs.Launch(t, programs.Build(t, "edge", "edge"), "run", "--listen", addr,
		"--redis", "redis://"+programs.FreeAddr(t), "--drain-delay", "10m")
	programs.Until(t, ready, func() bool { return systemd.count(ready) == 1 })
	conn, err := net.Dial("tcp", addr) // no retry: the port is open at READY
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	programs.Until(t, "two WATCHDOG messages without Redis", func() bool { return systemd.count(watchdog) > 1 })
	if systemd.count(stopping) > 0 {
		t.Error("got STOPPING before SIGTERM, want none")
	}
	edge.Signal(t, syscall.SIGTERM)
	programs.Until(t, stopping, func() bool { return systemd.count(stopping) == 1 })
	if !programs.Alive(addr) {
		t.Error("got STOPPING after the end of the drain, want it at the beginning")
	}
	if got := systemd.first(); got != ready {
		t.Errorf("got %q first, want %q", got, ready)
	}
}

// TestIngester_NotifiesSystemd: the computing loop sends WATCHDOG, even while Redis hangs.
func TestIngester_NotifiesSystemd(t *testing.T) {
	systemd := supervise(t, "12000000")
	redis := redistest.Start(t)
	ingester := programs.Launch(t, programs.Build(t, "ingester", "ingester"), "run",
		"--zmq", "tcp://"+programs.FreeAddr(t), "--redis", redis.URL())
	programs.Until(t, ready, func() bool { return systemd.count(ready) == 1 })
	programs.Until(t, "two WATCHDOG messages", func() bool { return systemd.count(watchdog) > 1 })
	redis.Pause()
	defer redis.Resume()
	before := systemd.count(watchdog)
	programs.Until(t, "two WATCHDOG messages while Redis hangs", func() bool { return systemd.count(watchdog) > before+1 })

	ingester.Stop(t)
	programs.Until(t, stopping, func() bool { return systemd.count(stopping) == 1 })
}

// TestEdge_RunsWithoutSystemd: an absent notification socket is no error.
func TestEdge_RunsWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "absent"))
	t.Setenv("WATCHDOG_USEC", "soon")
	addr := programs.FreeAddr(t)
	edge := programs.Launch(t, programs.Build(t, "edge", "edge"), "run", "--listen", addr, "--drain-delay", "0", "--drain-window", "0")
	programs.Until(t, "the edge to be alive", func() bool { return programs.Alive(addr) })
	edge.Stop(t)
}
