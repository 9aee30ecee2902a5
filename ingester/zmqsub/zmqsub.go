// Package zmqsub receives bitcoind's ZMQ notifications: it owns the socket, keeps it connected, and reports when a
// connection goes up or down. It does not interpret the notifications.
package zmqsub

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	zmq "github.com/pebbe/zmq4"
)

// Kind is the type of a Message.
type Kind uint8

// The kinds of messages.
const (
	Data Kind = iota // a notification
	Up               // a connection is up, and the subscription is being sent
	Down             // a connection is lost; libzmq reconnects
)

// A Message is a notification, or a change of a connection.
type Message struct {
	Kind     Kind
	Frames   [][]byte // of a notification: topic, body and counter, unless the sender is broken
	At       time.Time
	Endpoint string // of a connection: as configured
	Address  string // of a connection: its address, such as 127.0.0.1:28332
}

// A Listener is one SUB socket. Run owns it.
type Listener struct {
	links     []*link
	topics    []string
	log       *slog.Logger
	reconnect chan struct{}
	resolver  resolver
	lookups   sync.WaitGroup
	view      atomic.Pointer[[]Link]

	addressTimeout, downLogDelay time.Duration
}

// New checks the endpoints (such as tcp://127.0.0.1:28332). Run connects; neither a node that is down nor a name that
// does not exist yet is an error. One socket connects to all endpoints, for nodes whose topics have addresses of their
// own.
func New(endpoints, topics []string, log *slog.Logger) (*Listener, error) {
	list, err := parseAll(endpoints)
	if err != nil {
		return nil, err
	}
	l := &Listener{
		topics: topics, log: log, reconnect: make(chan struct{}, 1), resolver: net.DefaultResolver,
		addressTimeout: addressTimeout, downLogDelay: downLogDelay,
	}
	for _, e := range list {
		l.links = append(l.links, &link{endpoint: e})
	}
	l.publish()
	return l, nil
}

// Reconnect makes Run replace its socket: the way out of a connection that is dead without an error.
func (l *Listener) Reconnect() {
	select {
	case l.reconnect <- struct{}{}:
	default: // it was requested already
	}
}

// Run receives until ctx ends, and sends to out. The node may come and go: libzmq reconnects by itself. The returned
// error is about the socket, never the node.
func (l *Listener) Run(ctx context.Context, out chan<- Message) error {
	zctx, err := zmq.NewContext()
	if err != nil {
		return fmt.Errorf("ZMQ: %w", err)
	}
	defer zctx.Term()
	defer l.lookups.Wait() // they end with ctx
	for number := 0; ctx.Err() == nil; number++ {
		s, err := l.connect(zctx, number)
		if err != nil {
			return fmt.Errorf("ZMQ: %w", err)
		}
		err = l.receive(ctx, s, out)
		s.close()
		if err != nil {
			return fmt.Errorf("ZMQ: %w", err)
		}
	}
	return nil
}

const (
	// poll bounds how long Run takes to notice that it should stop or reconnect.
	poll = 250 * time.Millisecond
	// pollLookup bounds how long Run takes to notice the result of a lookup, which wakes no socket.
	pollLookup = 10 * time.Millisecond
)

// messageBatch is how many messages are received before the socket's events are handled.
const messageBatch = 256

// receive returns nil when ctx ends or the socket is to be replaced.
func (l *Listener) receive(ctx context.Context, s *socket, out chan<- Message) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.reconnect:
			l.log.Info("replacing the ZMQ socket")
			return nil
		default:
		}
		l.maintain(ctx, s, time.Now())
		wait := poll
		if slices.ContainsFunc(l.links, func(k *link) bool { return k.lookup != nil && !k.up }) { // a lookup is running
			wait = pollLookup
		}
		if _, err := s.poller.Poll(wait); err != nil {
			return err
		}
		if err := l.receiveEvents(ctx, s, out); err != nil {
			return err
		}
		if err := l.receiveData(ctx, s, out); err != nil {
			return err
		}
	}
}

func (l *Listener) receiveData(ctx context.Context, s *socket, out chan<- Message) error {
	for range messageBatch {
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

func (l *Listener) receiveEvents(ctx context.Context, s *socket, out chan<- Message) error {
	for {
		event, address, _, err := s.events.RecvEvent(zmq.DONTWAIT)
		if isAgain(err) {
			return nil
		}
		if err != nil {
			return err
		}
		m, ok := l.handleEvent(s, event, address, time.Now())
		if !ok {
			continue
		}
		l.log.Debug("ZMQ link", "up", m.Kind == Up, "endpoint", m.Endpoint, "address", m.Address)
		if !send(ctx, out, m) {
			return nil
		}
	}
}

// send returns false if ctx has ended.
func send(ctx context.Context, out chan<- Message, m Message) bool {
	select {
	case out <- m:
		return true
	case <-ctx.Done():
		return false
	}
}

func isAgain(err error) bool { return err != nil && zmq.AsErrno(err) == zmq.Errno(syscall.EAGAIN) }

// Try listens until all endpoints are connected and a message of every topic has come, or ctx ends. It returns the
// state of the connections and the received topics. The error is that of New and Run.
func Try(ctx context.Context, endpoints, topics []string) (links []Link, received map[string]bool, err error) {
	l, err := New(endpoints, topics, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, ended := make(chan Message), make(chan error, 1)
	go func() { ended <- l.Run(ctx, messages) }()
	received = make(map[string]bool)
	for {
		select {
		case m := <-messages:
			if m.Kind == Data && len(m.Frames) > 0 && slices.Contains(topics, string(m.Frames[0])) {
				received[string(m.Frames[0])] = true
			}
			links = l.Links()
			if len(received) == len(topics) && !slices.ContainsFunc(links, func(k Link) bool { return !k.Up }) {
				cancel()
				return links, received, <-ended
			}
		case err := <-ended:
			return l.Links(), received, err
		}
	}
}
