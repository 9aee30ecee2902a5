//go:build deploy

// Package systemd holds the tests of the units in infra/systemd and of what the programs tell systemd.
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
	mu    sync.Mutex
	heard []string
}

// supervise makes the programs that are started from here on believe that systemd started them.
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
		s.heard = append(s.heard, strings.Fields(string(message[:n]))...)
		s.mu.Unlock()
	}
}

// count is how often a program has said so.
func (s *supervisor) count(state string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.heard {
		if h == state {
			n++
		}
	}
	return n
}

func (s *supervisor) first() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heard) == 0 {
		return ""
	}
	return s.heard[0]
}

const (
	ready    = "READY=1"
	stopping = "STOPPING=1"
	watchdog = "WATCHDOG=1"
)

// TestEdge_NotifiesSystemd: it is ready when its port is open, with or without Redis; it lives as long as it can tell
// clients that the price is old; and it says that it is going when the drain begins, not when it is over.
func TestEdge_NotifiesSystemd(t *testing.T) {
	systemd := supervise(t, "12000000")
	addr := programs.FreeAddr(t)
	edge := programs.Launch(t, programs.Build(t, "edge", "edge"), "run", "--listen", addr,
		"--redis", "redis://"+programs.FreeAddr(t), "--drain-delay", "10m")
	programs.Until(t, ready, func() bool { return systemd.count(ready) == 1 })
	conn, err := net.Dial("tcp", addr) // once: whoever waits for READY may connect at once
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	programs.Until(t, "some life without Redis", func() bool { return systemd.count(watchdog) > 1 })
	if systemd.count(stopping) > 0 {
		t.Error("it says that it is going before it was told to")
	}
	edge.Signal(t, syscall.SIGTERM)
	programs.Until(t, stopping, func() bool { return systemd.count(stopping) == 1 })
	if !programs.Alive(addr) {
		t.Error("it says that it is going when it is gone")
	}
	if got := systemd.first(); got != ready {
		t.Errorf("it said %q before %q", got, ready)
	}
}

// TestIngester_NotifiesSystemd: its life is the loop that computes, also while Redis hangs.
func TestIngester_NotifiesSystemd(t *testing.T) {
	systemd := supervise(t, "12000000")
	redis := redistest.Start(t)
	ingester := programs.Launch(t, programs.Build(t, "ingester", "ingester"), "run",
		"--zmq", "tcp://"+programs.FreeAddr(t), "--redis", redis.URL())
	programs.Until(t, ready, func() bool { return systemd.count(ready) == 1 })
	programs.Until(t, "some life", func() bool { return systemd.count(watchdog) > 1 })
	redis.Pause()
	defer redis.Resume()
	before := systemd.count(watchdog)
	programs.Until(t, "life while Redis hangs", func() bool { return systemd.count(watchdog) > before+1 })

	ingester.Stop(t)
	programs.Until(t, stopping, func() bool { return systemd.count(stopping) == 1 })
}

// TestEdge_RunsWithoutSystemd: nothing is said to a socket that is not there, and that is no fault.
func TestEdge_RunsWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "absent"))
	t.Setenv("WATCHDOG_USEC", "soon")
	addr := programs.FreeAddr(t)
	edge := programs.Launch(t, programs.Build(t, "edge", "edge"), "run", "--listen", addr, "--drain-delay", "0", "--drain-window", "0")
	programs.Until(t, "the edge to serve all the same", func() bool { return programs.Alive(addr) })
	edge.Stop(t)
}
