// Package redistest runs redis-server processes for tests of single packages. Tests of whole programs, which also kill and
// configure servers, have their own in infra.
package redistest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Start runs a redis-server without persistence on a unix socket until the test ends, and returns its client. The test is
// skipped if redis-server is not installed.
func Start(t testing.TB, args ...string) *redis.Client {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed: make deps installs it")
	}
	dir, err := os.MkdirTemp("", "redis") // the names that t.TempDir has may be too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "redis.sock")
	server := exec.Command("redis-server", append([]string{
		"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no",
	}, args...)...)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket})
	t.Cleanup(func() {
		client.Close()
		server.Process.Kill() //nolint:errcheck // it may have ended
		server.Wait()         //nolint:errcheck // it was killed
		os.RemoveAll(dir)     //nolint:errcheck // it is in the folder for temporary files
	})
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !listens(socket) || client.Ping(t.Context()).Err() != nil {
		select {
		case <-deadline:
			t.Fatalf("redis-server does not respond: %v", client.Ping(t.Context()).Err())
		case <-poll.C:
		}
	}
	return client
}

// listens reports whether a server accepts connections. A client of go-redis that was refused some times waits a second
// before it tries again.
func listens(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// URL returns the URL of a client's server, for --redis.
func URL(client *redis.Client) string { return "unix://" + client.Options().Addr }
