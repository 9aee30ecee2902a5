// Package replay publishes transactions from files as bitcoind publishes its own, so that everything downstream can
// be run without a node.
package replay

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"syscall"
	"time"

	"github.com/btcsuite/btcd/wire"
	zmq "github.com/pebbe/zmq4"

	"sightglass/ingester/node"
)

// Options say what is published and how fast.
type Options struct {
	Endpoint string  // ZMQ endpoint to bind; tcp://127.0.0.1:* takes a free port
	Rate     float64 // transactions a second, above 0. Mainnet sees about 7
	Loop     bool    // start again at the end; see Publisher.Run
	Log      *slog.Logger
}

// A Publisher owns a bound ZMQ socket. It is for one goroutine.
type Publisher struct {
	opts     Options
	zctx     *zmq.Context
	socket   *zmq.Socket
	bound    string
	counters map[string]uint32 // what each topic's next message carries
	body     bytes.Buffer
}

// New binds the socket. Close it, or Run it, which closes it.
func New(o Options) (*Publisher, error) {
	if !(o.Rate > 0) || math.IsInf(o.Rate, 0) {
		return nil, fmt.Errorf("rate %v: want transactions a second, above 0", o.Rate)
	}
	zctx, err := zmq.NewContext()
	if err != nil {
		return nil, fmt.Errorf("ZMQ: %w", err)
	}
	p := &Publisher{opts: o, zctx: zctx, counters: make(map[string]uint32)}
	if err := p.bind(); err != nil {
		p.Close()
		return nil, fmt.Errorf("cannot publish on %s: %w", o.Endpoint, err)
	}
	return p, nil
}

// sendHighWater bounds what waits for a slow subscriber, in messages; beyond it messages are dropped, as by bitcoind.
const sendHighWater = 100_000

// linger is how long the last messages may take to go out, once all are published.
const linger = time.Second

// bind makes an XPUB socket: on the wire the same as bitcoind's PUB, but it tells when somebody has subscribed.
func (p *Publisher) bind() (err error) {
	if p.socket, err = p.zctx.NewSocket(zmq.XPUB); err != nil {
		return err
	}
	err = errors.Join(
		p.socket.SetLinger(0),
		p.socket.SetSndhwm(sendHighWater),
		p.socket.SetRcvtimeo(100*time.Millisecond),
		p.socket.Bind(p.opts.Endpoint),
	)
	if err != nil {
		return err
	}
	p.bound, err = p.socket.GetLastEndpoint()
	return err
}

// Endpoint is where subscribers connect to.
func (p *Publisher) Endpoint() string { return p.bound }

// Close frees the socket. It must not be called while Run is running.
func (p *Publisher) Close() {
	if p.socket != nil {
		p.socket.Close()
		p.socket = nil
	}
	p.zctx.Term()
}

// Run waits for the first subscriber, so that nothing is lost to one that is a moment late, and publishes txs at the
// rate until they or ctx end. With Loop it goes on with the same transactions; each lap gives them another lock time,
// so that they have new txids as new transactions would. Their signatures no longer hold then, which nobody checks here.
func (p *Publisher) Run(ctx context.Context, txs []*wire.MsgTx) error {
	defer p.Close()
	if err := p.AwaitSubscriber(ctx, node.TopicRawTx); err != nil {
		return err
	}
	p.opts.Log.Info("replay: publishing", "transactions", len(txs), "per_second", p.opts.Rate)
	start, sent := time.Now(), 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			for due := int(now.Sub(start).Seconds() * p.opts.Rate); sent < due && ctx.Err() == nil; sent++ {
				if sent >= len(txs) && !p.opts.Loop {
					p.opts.Log.Info("replay: done", "transactions", sent)
					return p.socket.SetLinger(linger) // Close would throw away what is not on the wire yet
				}
				if err := p.publish(txs[sent%len(txs)], sent/len(txs)); err != nil {
					return err
				}
			}
		}
	}
}

// AwaitSubscriber returns when somebody has subscribed to the topic, or when ctx ends.
func (p *Publisher) AwaitSubscriber(ctx context.Context, topic string) error {
	const subscribe = 1 // the first byte of what an XPUB socket tells; the rest is the topic's prefix
	for ctx.Err() == nil {
		told, err := p.socket.RecvBytes(0)
		switch {
		case zmq.AsErrno(err) == zmq.Errno(syscall.EAGAIN):
		case err != nil:
			return fmt.Errorf("ZMQ: %w", err)
		case len(told) > 0 && told[0] == subscribe && strings.HasPrefix(topic, string(told[1:])):
			return nil
		}
	}
	return nil
}

func (p *Publisher) publish(tx *wire.MsgTx, lap int) error {
	again := *tx // shares the inputs and outputs, which do not change
	again.LockTime += uint32(lap)
	p.body.Reset()
	if err := again.Serialize(&p.body); err != nil {
		return err
	}
	return p.Send(node.TopicRawTx, p.body.Bytes())
}

// Send publishes one notification with the next counter. It is what Run uses, and how tests send what no node would.
func (p *Publisher) Send(topic string, body []byte) error {
	counter := binary.LittleEndian.AppendUint32(nil, p.counters[topic])
	p.counters[topic]++
	return p.SendFrames([]byte(topic), body, counter)
}

// SendFrames publishes frames as they are.
func (p *Publisher) SendFrames(frames ...[]byte) error {
	if _, err := p.socket.SendMessage(frames); err != nil {
		return fmt.Errorf("ZMQ: %w", err)
	}
	return nil
}
