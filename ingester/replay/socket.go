package replay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	zmq "github.com/pebbe/zmq4"
)

// sendHighWater bounds the queue for a slow subscriber, in messages.
const sendHighWater = 100_000

// linger is how long sending the last messages may take.
const linger = time.Second

// An xpub is a bound XPUB socket: on the wire the same as bitcoind's PUB, but it reports subscriptions. It is for one
// goroutine.
type xpub struct {
	zctx       *zmq.Context
	socket     *zmq.Socket
	lossless   bool            // wait for a slow subscriber; otherwise drop messages, like bitcoind
	bound      string          // the endpoint with its actual port
	subscribed map[string]bool // the subscribed prefixes
}

func newXPUB(endpoint string, lossless bool) (*xpub, error) {
	zctx, err := zmq.NewContext()
	if err != nil {
		return nil, fmt.Errorf("ZMQ: %w", err)
	}
	x := &xpub{zctx: zctx, lossless: lossless}
	if err := x.bind(endpoint); err != nil {
		x.close(0)
		return nil, fmt.Errorf("cannot publish on %s: %w", endpoint, err)
	}
	return x, nil
}

// poll is how long a call may take to notice the end of its context.
const poll = 100 * time.Millisecond

func (x *xpub) bind(endpoint string) (err error) {
	x.subscribed = make(map[string]bool)
	if x.socket, err = x.zctx.NewSocket(zmq.XPUB); err != nil {
		return err
	}
	err = errors.Join(
		x.socket.SetLinger(0),
		x.socket.SetSndhwm(sendHighWater),
		x.socket.SetXpubNodrop(x.lossless),
		x.socket.SetRcvtimeo(poll),
		x.socket.SetSndtimeo(poll),
		x.socket.Bind(endpoint),
	)
	if err != nil {
		return err
	}
	x.bound, err = x.socket.GetLastEndpoint()
	return err
}

// rebindTimeout is far more than libzmq's own thread takes to release the port.
const rebindTimeout = 5 * time.Second

// rebind closes the socket, which ends every connection, and binds another one at the same port. Messages sent before
// still arrive.
func (x *xpub) rebind() error {
	_ = x.socket.SetLinger(linger)
	for start := time.Now(); ; {
		x.socket.Close()
		err := x.bind(x.bound)
		switch {
		case err == nil:
			return nil
		case !isErrno(err, syscall.EADDRINUSE) || time.Since(start) > rebindTimeout:
			return fmt.Errorf("cannot publish on %s again: %w", x.bound, err)
		}
		time.Sleep(time.Millisecond) // libzmq does not report when a port is free
	}
}

// await returns when the topic has a subscriber, or when ctx ends.
func (x *xpub) await(ctx context.Context, topic string) error {
	for ctx.Err() == nil && !x.wanted(topic) {
		if _, err := x.receiveSubscription(); err != nil {
			return err
		}
	}
	return nil
}

// awaitAny returns when a subscriber has sent all its subscriptions, or when ctx ends.
func (x *xpub) awaitAny(ctx context.Context) error {
	for ctx.Err() == nil {
		more, err := x.receiveSubscription()
		if err != nil || !more && len(x.subscribed) > 0 {
			return err
		}
	}
	return nil
}

func (x *xpub) wanted(topic string) bool {
	for prefix := range x.subscribed {
		if strings.HasPrefix(topic, prefix) {
			return true
		}
	}
	return false
}

// receiveSubscription handles a message of a subscriber: a byte that says whether a subscription starts or ends, and
// the topic's prefix. It returns false if none came for a while.
func (x *xpub) receiveSubscription() (bool, error) {
	message, err := x.socket.RecvBytes(0)
	switch {
	case isErrno(err, syscall.EAGAIN):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("ZMQ: %w", err)
	case len(message) > 0 && message[0] == 1:
		x.subscribed[string(message[1:])] = true
	case len(message) > 0 && message[0] == 0:
		delete(x.subscribed, string(message[1:]))
	}
	return true, nil
}

// send publishes frames. If the socket is lossless, it waits for a subscriber that has sendHighWater messages queued,
// until ctx ends.
func (x *xpub) send(ctx context.Context, frames ...[]byte) error {
	for {
		_, err := x.socket.SendMessage(frames)
		switch {
		case err == nil:
			return nil
		case !isErrno(err, syscall.EAGAIN):
			return fmt.Errorf("ZMQ: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// close closes the socket. Queued messages get the time d to be sent.
func (x *xpub) close(d time.Duration) {
	if x.socket != nil {
		_ = x.socket.SetLinger(d) // without it the last messages may be lost, which is no reason to fail now
		x.socket.Close()
		x.socket = nil
	}
	x.zctx.Term()
}

// isErrno finds wrapped and joined errors too, which zmq.AsErrno does not. libzmq's type cannot say that it is one of
// the system's.
func isErrno(err error, errno syscall.Errno) bool {
	e, ok := errors.AsType[zmq.Errno](err)
	return ok && e == zmq.Errno(errno)
}
