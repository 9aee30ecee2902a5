// Package node shows bitcoind as one stream of events: transactions that it sees and transactions that leave its
// mempool unconfirmed. It is the only place that knows ZMQ.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"syscall"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	zmq "github.com/pebbe/zmq4"
	"golang.org/x/time/rate"
)

// Kind is what an Event tells.
type Kind uint8

// The kinds of events.
const (
	Seen Kind = iota // a transaction entered the mempool or came in a block; the same one may be seen again
	Gone             // a transaction left the mempool without a block: replaced, evicted, expired
)

// An Event is one thing that the node tells of a transaction.
type Event struct {
	Kind Kind
	ID   chainhash.Hash // txid
	Tx   *wire.MsgTx    // nil unless Kind is Seen
	At   time.Time      // when its message was received
}

// A Subscriber listens to a node's ZMQ notifications.
type Subscriber struct {
	endpoint string
	log      *slog.Logger
	metrics  *Metrics
	counters map[string]uint32 // the last counter of each topic
	bad      rate.Sometimes    // keeps a flood of bad messages out of the log
}

// NewSubscriber checks the endpoint (such as tcp://127.0.0.1:28332). The connection is made by Run; a node that is
// not there yet is no error.
func NewSubscriber(endpoint string, log *slog.Logger, metrics *Metrics) (*Subscriber, error) {
	if err := CheckEndpoint(endpoint); err != nil {
		return nil, err
	}
	return &Subscriber{
		endpoint: endpoint,
		log:      log.With("zmq", endpoint),
		metrics:  metrics,
		counters: make(map[string]uint32),
		bad:      rate.Sometimes{Interval: time.Second},
	}, nil
}

// CheckEndpoint says what is wrong with a ZMQ endpoint.
func CheckEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err == nil && u.Scheme == "tcp" && u.Port() != "", err == nil && u.Scheme == "ipc" && u.Host+u.Path != "":
		return nil
	default:
		return fmt.Errorf("ZMQ endpoint %q: want tcp://HOST:PORT or ipc://PATH, as in bitcoind's -zmqpubrawtx", endpoint)
	}
}

const (
	// receiveTimeout is how long Run may take to notice that it should stop.
	receiveTimeout = 250 * time.Millisecond
	// receiveHighWater bounds what libzmq queues for us, in messages: a full block's 4,000 transactions many times
	// over. Beyond it the node drops, and the counters show it.
	receiveHighWater = 100_000
	// maxMessage is the most bytes we take in one frame; libzmq hangs up on a peer that sends more.
	maxMessage = 8 << 20
	// silence is when an operator is told that nothing comes. Mainnet sees several transactions a second.
	silence = time.Minute
)

// Run receives until ctx ends, and sends each event to out. Messages that are broken are counted and passed over.
// The node may come and go: libzmq reconnects by itself. The returned error is about the socket, never the node.
func (s *Subscriber) Run(ctx context.Context, out chan<- Event) error {
	zctx, err := zmq.NewContext()
	if err != nil {
		return fmt.Errorf("ZMQ: %w", err)
	}
	defer zctx.Term()
	socket, err := s.connect(zctx)
	if err != nil {
		return fmt.Errorf("ZMQ %s: %w", s.endpoint, err)
	}
	defer socket.Close()
	return s.receive(ctx, socket, out)
}

func (s *Subscriber) connect(zctx *zmq.Context) (*zmq.Socket, error) {
	socket, err := zctx.NewSocket(zmq.SUB)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		socket.SetLinger(0),
		socket.SetIpv6(true),
		socket.SetRcvtimeo(receiveTimeout),
		socket.SetRcvhwm(receiveHighWater),
		socket.SetMaxmsgsize(maxMessage),
		socket.SetReconnectIvl(100*time.Millisecond),
		socket.SetReconnectIvlMax(5*time.Second),
		socket.SetTcpKeepalive(1), // a firewall that forgets an idle link says nothing to either side
		socket.SetTcpKeepaliveIdle(30),
		socket.SetTcpKeepaliveIntvl(10),
		socket.SetTcpKeepaliveCnt(3),
		socket.SetSubscribe(TopicRawTx),
		socket.SetSubscribe(TopicSequence),
		socket.Connect(s.endpoint),
	)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return socket, nil
}

func (s *Subscriber) receive(ctx context.Context, socket *zmq.Socket, out chan<- Event) error {
	s.log.Info("listening to the node")
	last, silent, heard := time.Now(), false, false
	for ctx.Err() == nil {
		frames, err := socket.RecvMessageBytes(0)
		now := time.Now()
		switch {
		case zmq.AsErrno(err) == zmq.Errno(syscall.EAGAIN):
			if !silent && now.Sub(last) > silence {
				silent = true
				s.log.Warn("nothing from the node for a minute: is it running, with zmqpubrawtx at this address?")
			}
			continue
		case err != nil:
			return fmt.Errorf("ZMQ %s: %w", s.endpoint, err)
		}
		if silent || !heard {
			silent, heard = false, true
			s.log.Info("the node is talking")
		}
		last = now
		if !s.deliver(ctx, frames, now, out) {
			return nil
		}
	}
	return nil
}

// deliver reports whether to go on.
func (s *Subscriber) deliver(ctx context.Context, frames [][]byte, now time.Time, out chan<- Event) bool {
	m, err := decode(frames)
	if m.topic != "" {
		s.watchCounter(m.topic, m.counter) // of a broken one too: it did arrive
	}
	if err != nil {
		s.metrics.badMessages.WithLabelValues(reason(err)).Inc()
		s.bad.Do(func() { s.log.Warn("passed over a broken message", "err", err) })
		return true
	}
	s.metrics.messages.WithLabelValues(m.topic).Inc()
	if m.empty {
		return true
	}
	m.event.At = now
	select {
	case out <- m.event:
		return true
	case <-ctx.Done():
		return false
	}
}

// watchCounter notices messages that were dropped between the node and us. A counter that starts again is a node
// that was restarted.
func (s *Subscriber) watchCounter(topic string, counter uint32) {
	last, known := s.counters[topic]
	s.counters[topic] = counter
	missed := counter - last - 1 // the counter wraps, and so does this
	switch {
	case !known || missed == 0:
	case missed >= restarted && counter < restarted:
		s.log.Info("the node started again", "topic", topic)
	default:
		s.metrics.missed.WithLabelValues(topic).Add(float64(missed))
		s.bad.Do(func() { s.log.Warn("messages were lost on the way from the node", "topic", topic, "missed", missed) })
	}
}

// restarted: so many messages are not lost at once; a counter that seems to have lost them, and is itself below this,
// began anew at 0.
const restarted = 1 << 16
