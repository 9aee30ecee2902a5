package zmqsub

import (
	"errors"
	"fmt"
	"time"

	zmq "github.com/pebbe/zmq4"
)

const (
	// HighWater bounds libzmq's receive queue, in messages: a full block's 4,000 transactions many times over. Beyond
	// it libzmq stops reading, the node's own queue fills and the node drops messages, which its counters show. It is
	// also the recommended value for the node (zmqpubrawtxhwm=).
	HighWater = 100_000
	// maxMessage is the largest frame that is accepted, in bytes; libzmq disconnects from a peer that sends more. A
	// block has at most 4 MB.
	maxMessage = 8 << 20
	// maxReconnectInterval is the longest pause between two attempts, so that the connection is up soon after the node
	// is.
	maxReconnectInterval = time.Second
	// connectTimeout is how long a host may take to accept. The kernel's own retries are up to a minute apart.
	connectTimeout = 2 * time.Second
)

// socket is a SUB socket, and the PAIR socket on which libzmq reports the events of its connections.
type socket struct {
	data, events *zmq.Socket
	poller       *zmq.Poller
}

// connect creates the number-th socket of a context. The number is part of the address for its events, as libzmq frees
// the previous address only some time after the socket was closed.
func (l *Listener) connect(zctx *zmq.Context, number int) (*socket, error) {
	s := &socket{poller: zmq.NewPoller()}
	eventsAddress := fmt.Sprintf("inproc://events-%d", number)
	var err error
	if s.data, err = zctx.NewSocket(zmq.SUB); err != nil {
		return nil, err
	}
	if s.events, err = zctx.NewSocket(zmq.PAIR); err != nil {
		return nil, errors.Join(err, s.data.Close())
	}
	err = errors.Join(
		s.data.SetLinger(0),
		s.data.SetIpv6(true),
		s.data.SetRcvhwm(HighWater),
		s.data.SetMaxmsgsize(maxMessage),
		s.data.SetReconnectIvl(100*time.Millisecond),
		s.data.SetReconnectIvlMax(maxReconnectInterval),
		s.data.SetConnectTimeout(connectTimeout),
		s.data.SetTcpKeepalive(1), // a firewall that drops an idle connection tells neither side
		s.data.SetTcpKeepaliveIdle(30),
		s.data.SetTcpKeepaliveIntvl(10),
		s.data.SetTcpKeepaliveCnt(3),
		s.data.SetHeartbeatIvl(10*time.Second), // detects a peer that hangs while its kernel lives
		s.data.SetHeartbeatTimeout(30*time.Second),
		s.data.Monitor(eventsAddress, zmq.EVENT_CONNECTED|zmq.EVENT_HANDSHAKE_SUCCEEDED|zmq.EVENT_DISCONNECTED|zmq.EVENT_CONNECT_RETRIED),
		s.events.SetLinger(0),
		s.events.Connect(eventsAddress),
	)
	for _, topic := range l.topics {
		err = errors.Join(err, s.data.SetSubscribe(topic))
	}
	if err != nil {
		s.close()
		return nil, err
	}
	now := time.Now()
	for _, k := range l.links {
		k.reset(now)
	}
	for _, k := range l.links {
		l.connectTo(s, k, k.fixed, now)
	}
	l.publish()
	s.poller.Add(s.data, zmq.POLLIN)
	s.poller.Add(s.events, zmq.POLLIN)
	return s, nil
}

// close closes the events socket before the socket that they are about: libzmq may crash the other way round.
func (s *socket) close() {
	_ = s.data.Monitor("", 0) // it fails if there were no events yet, which does no harm
	s.events.Close()
	s.data.Close()
}
