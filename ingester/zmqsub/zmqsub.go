// Package zmqsub listens to bitcoind's ZMQ notifications: it owns the socket, keeps it alive, and tells when the link
// comes and goes. What the notifications mean is not its concern.
package zmqsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"syscall"
	"time"

	zmq "github.com/pebbe/zmq4"
)

// Kind is what a Message is about.
type Kind uint8

// The kinds of messages.
const (
	Data Kind = iota // a notification
	Up               // a link is there, and the subscription on its way
	Down             // a link is lost; libzmq tries to get it back
)

// A Message is one notification, or news of the link.
type Message struct {
	Kind   Kind
	Frames [][]byte // of a notification: topic, body and counter, unless the sender is broken
	At     time.Time
}

// A Listener is one SUB socket. Run owns it.
type Listener struct {
	endpoints []string
	topics    []string
	log       *slog.Logger
	renew     chan struct{}
}

// New checks the endpoints (such as tcp://127.0.0.1:28332). The connection is made by Run; a node that is not there
// yet is no error. One socket connects to all endpoints, for nodes whose topics have addresses of their own.
func New(endpoints, topics []string, log *slog.Logger) (*Listener, error) {
	if err := CheckEndpoints(endpoints); err != nil {
		return nil, err
	}
	return &Listener{endpoints: endpoints, topics: topics, log: log, renew: make(chan struct{}, 1)}, nil
}

// CheckEndpoints says what is wrong with ZMQ endpoints.
func CheckEndpoints(endpoints []string) error {
	if len(endpoints) == 0 {
		return errors.New("no ZMQ endpoint: want tcp://HOST:PORT or ipc://PATH, as in bitcoind's -zmqpubrawtx")
	}
	for _, endpoint := range endpoints {
		u, err := url.Parse(endpoint)
		switch {
		case err == nil && u.Scheme == "tcp" && u.Port() != "", err == nil && u.Scheme == "ipc" && u.Host+u.Path != "":
		default:
			return fmt.Errorf("ZMQ endpoint %q: want tcp://HOST:PORT or ipc://PATH, as in bitcoind's -zmqpubrawtx", endpoint)
		}
	}
	return nil
}

// SamePlace reports whether an endpoint of ours is the address that the node gives. It compares ports: the node's own address for a socket is often another one than ours, 0.0.0.0 or a name.
func SamePlace(a, b string) bool {
	ua, errA := url.Parse(a)
	ub, errB := url.Parse(b)
	if errA != nil || errB != nil || ua.Scheme != ub.Scheme {
		return false
	}
	if ua.Scheme == "ipc" {
		return ua.Path == ub.Path
	}
	return ua.Port() == ub.Port()
}

// Renew asks Run to throw its socket away and make another: the way out of a link that is dead and does not know it.
func (l *Listener) Renew() {
	select {
	case l.renew <- struct{}{}:
	default: // it was asked already
	}
}

// Run receives until ctx ends, and sends what it receives to out. The node may come and go: libzmq reconnects by
// itself. The returned error is about the socket, never the node.
func (l *Listener) Run(ctx context.Context, out chan<- Message) error {
	zctx, err := zmq.NewContext()
	if err != nil {
		return fmt.Errorf("ZMQ: %w", err)
	}
	defer zctx.Term()
	for number := 0; ctx.Err() == nil; number++ {
		s, err := l.connect(zctx, number)
		if err != nil {
			return fmt.Errorf("ZMQ %v: %w", l.endpoints, err)
		}
		err = l.receive(ctx, s, out)
		s.close()
		if err != nil {
			return fmt.Errorf("ZMQ %v: %w", l.endpoints, err)
		}
	}
	return nil
}

// poll is how long Run may take to notice that it should stop or renew.
const poll = 250 * time.Millisecond

// atOnce is how many messages are taken before the link's news are looked at again.
const atOnce = 256

// receive returns nil when ctx ends or the socket is to be made anew.
func (l *Listener) receive(ctx context.Context, s *socket, out chan<- Message) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.renew:
			l.log.Info("making the ZMQ socket anew")
			return nil
		default:
		}
		if _, err := s.poller.Poll(poll); err != nil {
			return err
		}
		if err := l.receiveNews(ctx, s, out); err != nil {
			return err
		}
		if err := l.receiveData(ctx, s, out); err != nil {
			return err
		}
	}
}

func (l *Listener) receiveData(ctx context.Context, s *socket, out chan<- Message) error {
	for range atOnce {
		frames, err := s.data.RecvMessageBytes(zmq.DONTWAIT)
		if isAgain(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !send(ctx, out, Message{Kind: Data, Frames: frames, At: time.Now()}) {
			return nil
		}
	}
	return nil
}

func (l *Listener) receiveNews(ctx context.Context, s *socket, out chan<- Message) error {
	for {
		event, address, _, err := s.news.RecvEvent(zmq.DONTWAIT)
		if isAgain(err) {
			return nil
		}
		if err != nil {
			return err
		}
		kind := Down
		if event == zmq.EVENT_HANDSHAKE_SUCCEEDED {
			kind = Up
		}
		if s.up[address] == (kind == Up) {
			continue // somebody who accepts connections and hangs up is no link that was lost
		}
		s.up[address] = kind == Up
		l.log.Debug("ZMQ link", "up", kind == Up, "address", address)
		if !send(ctx, out, Message{Kind: kind, At: time.Now()}) {
			return nil
		}
	}
}

// send reports false if ctx has ended.
func send(ctx context.Context, out chan<- Message, m Message) bool {
	select {
	case out <- m:
		return true
	case <-ctx.Done():
		return false
	}
}

func isAgain(err error) bool { return err != nil && zmq.AsErrno(err) == zmq.Errno(syscall.EAGAIN) }

// Try connects to one endpoint and reports whether somebody speaks ZMQ there.
func Try(ctx context.Context, endpoint string, timeout time.Duration) error {
	l, err := New([]string{endpoint}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	news, ended := make(chan Message), make(chan error, 1)
	go func() { ended <- l.Run(ctx, news) }()
	select {
	case <-news: // without a subscription there is only news of the link, and the first is that it is there
		cancel()
		return <-ended
	case err := <-ended:
		return errors.Join(err, fmt.Errorf("ZMQ %s: nobody answers there: is the node running, with zmqpubrawtx=%s in bitcoin.conf?", endpoint, endpoint))
	}
}
