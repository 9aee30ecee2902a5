//go:build deploy

package proxy

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sightglass/infra/test/internal/programs"
)

// A balancer is a process with a configuration of ours.
type balancer struct {
	addr, tls string // where clients connect
	ops       string // where operators look
	process   *programs.Process
}

// A kind of balancer.
type kind struct {
	// start runs one before two edges until the test ends. render changes what is to be changed beside the addresses.
	start func(t *testing.T, render func(string) string, edges ...string) *balancer
	// out reports whether the balancer has seen that the edge takes no more clients; nil if it does not look by itself.
	out func(t *testing.T, b *balancer, edge int) bool
	// secure changes the configuration so that it serves HTTPS.
	secure func(t *testing.T, certificate, key string) func(string) string
	// shared adds a snippet of docs/proxies.md to the configuration, and gives the root to another site.
	shared func(t *testing.T, config, snippet string) string
}

// shipped reads a file that we ship, with each of the replacements made; what is to be replaced must be there.
func shipped(t *testing.T, path string, pairs ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return replace(t, string(text), pairs...)
}

func replace(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("there is no %q in the configuration", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// launch runs a balancer until the test ends.
func launch(t *testing.T, b *balancer, program string, args ...string) *balancer {
	t.Helper()
	b.process = programs.Launch(t, program, args...)
	t.Cleanup(func() {
		b.process.Signal(t, syscall.SIGTERM) // killed, nginx would leave its workers behind
		if said := b.process.Output(); t.Failed() {
			t.Log(said)
		}
	})
	// HAProxy listens at one address after the other.
	programs.Until(t, "the balancer to listen", func() bool { return listens(b.addr) && (b.ops == "" || listens(b.ops)) })
	return b
}

func listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
