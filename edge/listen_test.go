package edge

import (
	"bytes"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestListenPublic_ConnectionsInheritSocketOptions: they inherit them from the listener, and no code sets them per
// connection.
func TestListenPublic_ConnectionsInheritSocketOptions(t *testing.T) {
	ln, err := listenPublic("127.0.0.1:0", 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ level, option, want int }{
		"send buffer":        {unix.SOL_SOCKET, unix.SO_SNDBUF, 2 * sendBuffer},
		"keep-alive":         {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		"keep-alive idle":    {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
		"keep-alive retries": {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes},
		"user timeout":       {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 30_000},
		"no delay":           {unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		got, failed := 0, error(nil)
		if err := raw.Control(func(fd uintptr) { got, failed = unix.GetsockoptInt(int(fd), c.level, c.option) }); err != nil || failed != nil {
			t.Fatal(err, failed)
		}
		if got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestFitMaxClients_LowersToOpenFiles(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	if got := fitMaxClients(1, log); got != 1 || strings.Contains(out.String(), "WARN") {
		t.Errorf("1 client: got %d with log %s, want 1 without a warning", got, &out)
	}
	if got := fitMaxClients(math.MaxInt, log); got < 1 || got == math.MaxInt || !strings.Contains(out.String(), "WARN") {
		t.Errorf("more clients than files: got %d with log %s, want fewer and a warning", got, &out)
	}
}
