// Package redistest runs redis-server processes for tests.
package redistest

import (
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/infra/internal/redisproc"
	"sightglass/shared/contract"
)

// A Server is a redis-server process on its own port, without persistence by default. It is killed when the test ends.
type Server struct {
	*redisproc.Server
	t testing.TB
}

// Start starts a server and waits until it responds.
func Start(t testing.TB) *Server {
	t.Helper()
	s := New(t, "")
	s.Start()
	return s
}

// New returns a server that is not started. config is the path of a configuration file, or ""; args are further
// command-line arguments.
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

// Client returns a client, which is closed when the test ends.
func (s *Server) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.Addr()})
	s.t.Cleanup(func() { client.Close() })
	return client
}

// Start starts the server and waits until it responds. After Kill, it starts it again on the same port.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.Server.Start(s.t.Context()); err != nil {
		s.t.Fatalf("%v:\n%s", err, s.Output())
	}
}

// Kill kills the server with SIGKILL, like a crash.
func (s *Server) Kill() {
	s.t.Helper()
	if err := s.Server.Kill(); err != nil {
		s.t.Error(err)
	}
}

// Snapshot returns the latest snapshot in Redis, or nil if there is none.
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

// Pause stops the process with SIGSTOP: the kernel still accepts connections, but the server does not respond.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume continues a paused server.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// StoreEvidence writes evidence of a price in USD, now, of no payments.
func StoreEvidence(t testing.TB, client *redis.Client, price float64) {
	t.Helper()
	evidence := contract.Evidence{Timestamp: float64(time.Now().Unix()), Price: price}
	evidence.Amounts.Bins = contract.Bins{From: 66983.1, Step: 0.00390625, Counts: make([]uint64, 640)}
	evidence.Amounts.Expected = make([]float64, 640)
	evidence.Prices.Bins = contract.Bins{From: price, Step: 0.000434028, Counts: make([]uint64, 201)}
	evidence.Prices.Probabilities = make([]float64, 201)
	if err := client.Set(t.Context(), contract.KeyEvidence, evidence.AppendJSON(nil), 0).Err(); err != nil {
		t.Fatal(err)
	}
}
