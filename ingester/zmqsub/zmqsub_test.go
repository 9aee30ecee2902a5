package zmqsub

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	zmq "github.com/pebbe/zmq4"
)

func TestCheckEndpoints_NamesErrors(t *testing.T) {
	for _, good := range []string{
		"tcp://127.0.0.1:28332", "tcp://[::1]:28332", "tcp://[fe80::1%eth0]:1", "tcp://localhost:65535", "tcp://bitcoin_node-1.example.:1",
		"tcp://0.0.0.0:28332", "ipc:///run/bitcoind.sock", "ipc://@bitcoind", "ipc://bitcoind.sock",
	} {
		if err := CheckEndpoints([]string{good}); err != nil {
			t.Error(err)
		}
	}
	for bad, want := range map[string]string{
		"":                                   "want tcp://HOST:PORT",
		"127.0.0.1:28332":                    "want tcp://HOST:PORT",
		"http://127.0.0.1:28332":             "want tcp://HOST:PORT",
		"TCP://127.0.0.1:28332":              "want tcp://HOST:PORT",
		"tcp://":                             "want tcp://HOST:PORT",
		"tcp://127.0.0.1":                    "no port: write tcp://127.0.0.1:28332",
		"tcp://node":                         "no port: write tcp://node:28332",
		"tcp://::1":                          "no port: write tcp://[::1]:28332",
		"tcp://[::1]":                        "no port: write tcp://[::1]:28332",
		"tcp://::1:28332":                    "write tcp://[::1]:28332",
		"tcp://2001:db8::1:28332":            "write tcp://[2001:db8::1]:28332",
		"tcp://1:2:3:4:5:6:7:8:9000":         "write tcp://[1:2:3:4:5:6:7:8]:9000",
		"tcp://:28332":                       "no host before the port",
		"tcp://127.0.0.1:":                   `the port is "": want 1 to 65535`,
		"tcp://127.0.0.1:0":                  "want 1 to 65535",
		"tcp://127.0.0.1:65536":              "want 1 to 65535",
		"tcp://127.0.0.1:-1":                 "want 1 to 65535",
		"tcp://127.0.0.1:zmq":                "want 1 to 65535",
		"tcp://127.0.0.1:*":                  "* is for the node",
		"tcp://*:28332":                      "* is for the node",
		"tcp://eth0;127.0.0.1:28332":         "neither an address nor a name",
		"tcp://u:p@127.0.0.1:28332":          "want tcp://HOST:PORT",
		"tcp://u@node:28332":                 "neither an address nor a name",
		"tcp://[node]:28332":                 "neither an address nor a name",
		"tcp://a b:1":                        "contains a space",
		" tcp://127.0.0.1:28332":             "contains a space",
		"tcp://127.0.0.1:28332/":             "write tcp://127.0.0.1:28332",
		"tcp://127.0.0.1:28332/x":            "write tcp://127.0.0.1:28332",
		"tcp://127.0.0.1:28332?x=1":          "want 1 to 65535",
		"ipc://":                             "want tcp://HOST:PORT or ipc://PATH",
		"ipc://*":                            "* is for the node",
		"ipc:///" + strings.Repeat("x", 107): "the path has 108 bytes",
		"tcp://127.0.0.1:1":                  "is listed twice", // the test passes it twice
	} {
		err := CheckEndpoints([]string{"tcp://127.0.0.1:1", bad})
		if err == nil || !strings.Contains(err.Error(), "ZMQ endpoint "+strconv.Quote(bad)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", bad, err, want)
		}
	}
	if err := CheckEndpoints(nil); err == nil {
		t.Error("got no error without endpoints, want one")
	}
	if err := CheckEndpoints([]string{"a", "b"}); err == nil || strings.Count(err.Error(), "ZMQ endpoint") != 2 {
		t.Errorf("got %v, want both to be named", err)
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
	if err := errors.Join(s.socket.SetLinger(0), s.socket.SetXpubVerbose(1), s.socket.SetIpv6(strings.Contains(endpoint, "[")), s.socket.SetRcvtimeo(20*time.Second), s.socket.Bind(endpoint)); err != nil {
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

// awaitSubscription waits for a subscriber, which an XPUB socket reports.
func (s *sender) awaitSubscription(t *testing.T) {
	t.Helper()
	for {
		subscription, err := s.socket.RecvBytes(0)
		if err != nil {
			t.Fatal("got no subscriber: ", err)
		}
		if len(subscription) > 0 && subscription[0] == 1 {
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
	return l, start(t, l)
}

// start runs a listener until the test ends.
func start(t *testing.T, l *Listener) <-chan Message {
	t.Helper()
	messages, ended := make(chan Message), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- l.Run(ctx, messages) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return messages
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
			t.Fatalf("got no message of kind %d for 20 s", kind)
		}
	}
}

func TestListener_NodeComesAndGoes(t *testing.T) {
	node := newSender(t, "tcp://127.0.0.1:*")
	_, messages := run(t, node.bound)
	for range 3 {
		await(t, messages, Up)
		node.awaitSubscription(t)
		node.send(t, "body")
		if m := await(t, messages, Data); len(m.Frames) != 3 || string(m.Frames[1]) != "body" || m.At.IsZero() {
			t.Errorf("got %+v, want the body in three frames", m)
		}
		node.close()
		await(t, messages, Down)
		node = newSender(t, node.bound)
	}
	node.close()
}

func TestListener_Reconnect(t *testing.T) {
	node := newSender(t, "tcp://127.0.0.1:*")
	defer node.close()
	l, messages := run(t, node.bound)
	for range 20 {
		await(t, messages, Up)
		l.Reconnect()
		l.Reconnect() // twice is once
	}
}

func TestListener_TwoEndpoints(t *testing.T) {
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
		t.Errorf("got %v, want both", got)
	}
}

func TestTry_ReportsLinks(t *testing.T) {
	node := newSender(t, "tcp://127.0.0.1:*")
	links, received, err := Try(t.Context(), []string{node.bound}, nil)
	if err != nil || len(links) != 1 || !links[0].Up || "tcp://"+links[0].Address != node.bound || links[0].Error() != nil || len(received) != 0 {
		t.Errorf("got %+v, %v, %v, want one connected link and no topic", links, received, err)
	}
	sent := make(chan error, 1)
	go func() {
		_, received, err := Try(t.Context(), []string{node.bound}, []string{"rawtx"})
		if !received["rawtx"] {
			err = errors.Join(err, errors.New("rawtx was not received"))
		}
		sent <- err
	}()
	node.awaitSubscription(t)
	node.send(t, "body")
	if err := <-sent; err != nil {
		t.Error(err)
	}
	node.close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	links, _, err = Try(ctx, []string{node.bound}, nil)
	if err != nil || links[0].Up || !strings.Contains(links[0].Error().Error(), trimScheme(node.bound)+" (no connection)") {
		t.Errorf("without a node: got %v, %v, want no connection", links, err)
	}
}
