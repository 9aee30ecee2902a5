// Package redistest runs real redis-server processes for tests.
package redistest

import (
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"sightglass/infra/internal/redisproc"
	"sightglass/shared/contract"
)

// A Server is a redis-server on a port of its own, without persistence. It ends with the test.
type Server struct {
	*redisproc.Server
	t testing.TB
}

// Start starts a server and waits until it answers.
func Start(t testing.TB) *Server {
	t.Helper()
	s := New(t, "")
	s.Start()
	return s
}

// New makes a server with a file of settings, if any, and further ones; it is not started yet.
func New(t testing.TB, config string, args ...string) *Server {
	t.Helper()
	process, err := redisproc.New()
	if err != nil {
		t.Fatal(err)
	}
	process.Config, process.Args = config, args
	s := &Server{Server: process, t: t}
	t.Cleanup(func() {
		if s.Running() {
			s.Kill()
		}
	})
	return s
}

// Client connects to the server until the test ends.
func (s *Server) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.Addr()})
	s.t.Cleanup(func() { client.Close() })
	return client
}

// Start starts a server that was killed again, empty, on the same port.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.Server.Start(s.t.Context()); err != nil {
		s.t.Fatalf("%v:\n%s", err, s.Output())
	}
}

// Kill ends the server as a crash would.
func (s *Server) Kill() {
	s.t.Helper()
	if err := s.Server.Kill(); err != nil {
		s.t.Error(err)
	}
}

// Snapshot is the newest that was published; nil if there is none.
func (s *Server) Snapshot() *contract.Snapshot {
	s.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr()})
	defer client.Close()
	data, err := client.Get(s.t.Context(), contract.KeyLatest).Bytes()
	if err != nil {
		return nil
	}
	latest, err := contract.DecodeSnapshot(data)
	if err != nil {
		s.t.Fatal(err)
	}
	return latest
}

// Pause makes the server hang, as on a machine that is out of memory: it accepts connections and answers nothing.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}
