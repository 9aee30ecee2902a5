// Package redisproc runs real redis-server processes, for tests and for measurements.
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
)

// startWithin is far more than an empty redis-server needs on a busy machine.
const startWithin = 20 * time.Second

// A Server is a redis-server on a port of its own, without persistence unless it is configured.
type Server struct {
	Config string   // file of settings; empty: none. To be set before Start, like the next
	Args   []string // further settings, as on redis-server's command line; they win

	port   int
	cmd    *exec.Cmd // nil while it does not run
	output bytes.Buffer
}

// New picks a port that is free now. Start starts the server.
func New() (*Server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, errors.New("redis-server is not installed: `make test` and `make bench` install it")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	return &Server{port: ln.Addr().(*net.TCPAddr).Port}, nil
}

// Port is the server's.
func (s *Server) Port() string { return strconv.Itoa(s.port) }

// Addr is host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", s.Port()) }

// URL is what the daemons take.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Start starts the server, empty, and waits until it answers. After Kill it may be started again, on the same port.
func (s *Server) Start(ctx context.Context) error {
	cmd := exec.Command("redis-server", s.arguments()...)
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	if err := s.awaitAnswer(ctx); err != nil {
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

func (s *Server) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	client := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	for {
		switch err := client.Ping(ctx).Err(); {
		case err == nil, redis.IsAuthError(err), errors.Is(err, io.EOF): // it wants a password, or TLS
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("redis-server does not answer on %s", s.Addr())
		}
	}
}

// Output is what the server has said. It must not be asked for while the server runs.
func (s *Server) Output() string { return s.output.String() }

// Running reports whether the server was started and not killed since.
func (s *Server) Running() bool { return s.cmd != nil }

// Kill ends the server as a crash would. It must run.
func (s *Server) Kill() error {
	err := s.cmd.Process.Kill()
	s.cmd.Wait() //nolint:errcheck // it was killed
	s.cmd = nil
	return err
}

// Stop ends the server as systemd does: it writes down its data if it is configured to. It must run.
func (s *Server) Stop() error {
	err := errors.Join(s.Signal(syscall.SIGTERM), s.cmd.Wait())
	s.cmd = nil
	return err
}

// Signal sends the server a signal. It must run.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }
