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

// A balancer is a process with one of our configurations.
type balancer struct {
	addr, tls string // for clients
	ops       string // for operators
	process   *programs.Process
}

// A kind is HAProxy or nginx.
type kind struct {
	// start runs a balancer before two edges until the test ends. render changes the configuration besides the
	// addresses.
	start func(t *testing.T, render func(string) string, edges ...string) *balancer
	// out reports whether the balancer's check has removed the edge from service; nil without active checks.
	out func(t *testing.T, b *balancer, edge int) bool
	// secure changes the configuration so that it serves HTTPS.
	secure func(t *testing.T, certificate, key string) func(string) string
	// shared adds a snippet of docs/proxies.md to the configuration, and serves another site at the root.
	shared func(t *testing.T, config, snippet string) string
}

// shipped reads a shipped file and applies the replacements; each replaced text must exist.
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
			t.Fatalf("got no %q in the configuration", pairs[i])
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
		b.process.Signal(t, syscall.SIGTERM) // SIGKILL would leave nginx's workers running
		if printed := b.process.Output(); t.Failed() {
			t.Log(printed)
		}
	})
	// HAProxy binds its addresses one after the other.
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
