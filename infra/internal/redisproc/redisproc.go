// Package redisproc runs redis-server processes for tests and measurements.
package redisproc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/infra/internal/freeport"
)

// startTimeout is far longer than an empty redis-server takes to start on a busy machine.
const startTimeout = 20 * time.Second

// A Server is a redis-server process on its own port. It has no persistence, unless Config enables it.
type Server struct {
	Config string   // path of a configuration file; "": none. Set Config and Args before Start
	Args   []string // further command-line arguments, which override Config

	port   int
	cmd    *exec.Cmd // nil while the process is not running
	output bytes.Buffer
}

// New returns a server, not started, on a currently unused port. It returns an error if redis-server is not installed.
func New() (*Server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, errors.New("redis-server is not installed: `make test` and `make bench` install it")
	}
	port, err := freeport.On("127.0.0.1")
	if err != nil {
		return nil, err
	}
	return &Server{port: port}, nil
}

// Port returns the server's port.
func (s *Server) Port() string { return strconv.Itoa(s.port) }

// Addr returns host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", s.Port()) }

// URL returns the server's redis:// URL.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Start starts the server and waits until it responds, at most 20 s. After Kill or Stop, Start starts it again on the same
// port.
func (s *Server) Start(ctx context.Context) error {
	cmd := exec.Command("redis-server", s.arguments()...)
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	if err := s.awaitResponse(ctx); err != nil {
		return errors.Join(err, s.Kill())
	}
	return nil
}

func (s *Server) arguments() []string {
	args := []string{"--port", s.Port(), "--bind", "127.0.0.1"}
	if s.Config == "" {
		args = append(args, "--save", "", "--appendonly", "no")
	} else {
		args = append([]string{s.Config}, args...)
	}
	return append(args, s.Args...)
}

func (s *Server) awaitResponse(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		if s.listens(ctx) {
			if err := client.Ping(ctx).Err(); err == nil || redis.IsAuthError(err) || errors.Is(err, io.EOF) { // it requires a password, or TLS
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis-server does not respond on %s", s.Addr())
		case <-poll.C:
		}
	}
}

// listens reports whether the server accepts connections. A client of go-redis that was refused some times waits a second
// before it tries again.
func (s *Server) listens(ctx context.Context) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Output returns what the server has printed. It must not be called while the server is running.
func (s *Server) Output() string { return s.output.String() }

// Running reports whether the server was started, and neither killed nor stopped since.
func (s *Server) Running() bool { return s.cmd != nil }

// Kill kills the server with SIGKILL, like a crash. The server must be running.
func (s *Server) Kill() error {
	err := s.cmd.Process.Kill()
	s.cmd.Wait() //nolint:errcheck // it was killed
	s.cmd = nil
	return err
}

// Stop stops the server with SIGTERM, as systemd does, so that a server with persistence saves its data. The server must
// be running.
func (s *Server) Stop() error {
	err := errors.Join(s.Signal(syscall.SIGTERM), s.cmd.Wait())
	s.cmd = nil
	return err
}

// Signal sends the server a signal. The server must be running.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }
