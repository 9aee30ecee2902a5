package zmqsub

import (
	"errors"
	"fmt"
	"time"

	zmq "github.com/pebbe/zmq4"
)

const (
	// HighWater bounds what libzmq queues for us, in messages: a full block's 4,000 transactions many times over.
	// Beyond it libzmq stops reading, the node's own queue fills and the node drops, which its counters show. It is
	// also what the node should keep (zmqpubrawtxhwm=): as much on either side.
	HighWater = 100_000
	// maxMessage is the most bytes we take in one frame; libzmq hangs up on a peer that sends more. A block has at
	// most 4 MB.
	maxMessage = 8 << 20
	// reconnectMost is the longest wait between two tries, so that a node is heard soon after its return.
	maxReconnectInterval = time.Second
	// connectWithin is how long a host may take to answer. The kernel's own tries are up to a minute apart.
	connectTimeout = 2 * time.Second
)

// socket is a SUB socket, and the PAIR socket on which libzmq tells how its links do.
type socket struct {
	data, events *zmq.Socket
	poller       *zmq.Poller
}

// connect makes the number-th socket of a context. The number is in the address for its news, as libzmq frees the one
// before only some time after it was closed.
func (l *Listener) connect(zctx *zmq.Context, number int) (*socket, error) {
	s := &socket{poller: zmq.NewPoller()}
	newsAddress := fmt.Sprintf("inproc://news-%d", number)
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
		s.data.SetTcpKeepalive(1), // a firewall that forgets an idle link says nothing to either side
		s.data.SetTcpKeepaliveIdle(30),
		s.data.SetTcpKeepaliveIntvl(10),
		s.data.SetTcpKeepaliveCnt(3),
		s.data.SetHeartbeatIvl(10*time.Second), // and this tells of a peer whose kernel lives on while it hangs
		s.data.SetHeartbeatTimeout(30*time.Second),
		s.data.Monitor(newsAddress, zmq.EVENT_CONNECTED|zmq.EVENT_HANDSHAKE_SUCCEEDED|zmq.EVENT_DISCONNECTED|zmq.EVENT_CONNECT_RETRIED),
		s.events.SetLinger(0),
		s.events.Connect(newsAddress),
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

// close ends the news before the socket that they are about: libzmq may crash the other way round.
func (s *socket) close() {
	_ = s.data.Monitor("", 0) // it fails if there were no news yet, which is as well
	s.events.Close()
	s.data.Close()
}
