package zmqsub

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	zmq "github.com/pebbe/zmq4"
)

func TestCheckEndpoints(t *testing.T) {
	for _, good := range []string{"tcp://127.0.0.1:28332", "tcp://[::1]:28332", "ipc:///run/bitcoind.sock"} {
		if err := CheckEndpoints([]string{good}); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "127.0.0.1:28332", "http://127.0.0.1:28332", "tcp://127.0.0.1", "ipc://", "tcp://a b:1"} {
		if err := CheckEndpoints([]string{"tcp://127.0.0.1:1", bad}); err == nil || !strings.Contains(err.Error(), "ZMQ endpoint") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	if err := CheckEndpoints(nil); err == nil {
		t.Error("no endpoint is no error")
	}
}

// sender is a PUB socket that the test's goroutine owns.
type sender struct {
	zctx   *zmq.Context
	socket *zmq.Socket
	bound  string
}

func newSender(t *testing.T, endpoint string) *sender {
	t.Helper()
	zctx, err := zmq.NewContext()
	if err != nil {
		t.Fatal(err)
	}
	s := &sender{zctx: zctx}
	if s.socket, err = zctx.NewSocket(zmq.XPUB); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.socket.SetLinger(0), s.socket.SetRcvtimeo(20*time.Second), s.socket.Bind(endpoint)); err != nil {
		t.Fatal(err)
	}
	if s.bound, err = s.socket.GetLastEndpoint(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sender) close() {
	s.socket.Close()
	s.zctx.Term()
}

func (s *sender) send(t *testing.T, body string) {
	t.Helper()
	if _, err := s.socket.SendMessage("rawtx", body, "0000"); err != nil {
		t.Fatal(err)
	}
}

// awaitSubscription waits for a subscriber, as an XPUB socket tells of one.
func (s *sender) awaitSubscription(t *testing.T) {
	t.Helper()
	for {
		told, err := s.socket.RecvBytes(0)
		if err != nil {
			t.Fatal("nobody subscribes: ", err)
		}
		if len(told) > 0 && told[0] == 1 {
			return
		}
	}
}

func run(t *testing.T, endpoints ...string) (*Listener, <-chan Message) {
	t.Helper()
	l, err := New(endpoints, []string{"rawtx"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	messages, ended := make(chan Message), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- l.Run(ctx, messages) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l, messages
}

func await(t *testing.T, messages <-chan Message, kind Kind) Message {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case m := <-messages:
			if m.Kind == kind {
				return m
			}
		case <-timeout:
			t.Fatalf("no message of kind %d for 20 s", kind)
		}
	}
}

func TestTheNodeComesAndGoes(t *testing.T) {
	node := newSender(t, "tcp://127.0.0.1:*")
	_, messages := run(t, node.bound)
	for range 3 {
		await(t, messages, Up)
		node.awaitSubscription(t)
		node.send(t, "body")
		if m := await(t, messages, Data); len(m.Frames) != 3 || string(m.Frames[1]) != "body" || m.At.IsZero() {
			t.Errorf("got %+v", m)
		}
		node.close()
		await(t, messages, Down)
		node = newSender(t, node.bound)
	}
	node.close()
}

func TestRenew(t *testing.T) {
	node := newSender(t, "tcp://127.0.0.1:*")
	defer node.close()
	l, messages := run(t, node.bound)
	for range 20 {
		await(t, messages, Up)
		l.Renew()
		l.Renew() // twice is once
	}
}

func TestTwoEndpoints(t *testing.T) {
	a, b := newSender(t, "tcp://127.0.0.1:*"), newSender(t, "tcp://127.0.0.1:*")
	defer a.close()
	defer b.close()
	_, messages := run(t, a.bound, b.bound)
	await(t, messages, Up)
	await(t, messages, Up)
	got := make(map[string]bool)
	for _, node := range []*sender{a, b} {
		node.awaitSubscription(t)
		node.send(t, node.bound)
	}
	for range 2 {
		got[string(await(t, messages, Data).Frames[1])] = true
	}
	if !got[a.bound] || !got[b.bound] {
		t.Errorf("heard %v, want both", got)
	}
}

func TestTry(t *testing.T) {
	node := newSender(t, "tcp://127.0.0.1:*")
	if err := Try(t.Context(), node.bound, 10*time.Second); err != nil {
		t.Error(err)
	}
	node.close()
	err := Try(t.Context(), node.bound, 300*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "nobody answers") {
		t.Errorf("with nobody there: %v", err)
	}
}
