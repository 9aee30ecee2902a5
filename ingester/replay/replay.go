// Package replay stands in for bitcoind, so that everything downstream can be run without one. A Publisher publishes
// transactions from files over ZMQ; a Node lives a recorded life again, over ZMQ and RPC.
package replay

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/transcript"
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
	socket   *xpub
	counters map[string]uint32 // what each topic's next message carries
	body     bytes.Buffer
}

// New binds the socket. Close it, or Run it, which closes it.
func New(o Options) (*Publisher, error) {
	if !(o.Rate > 0) || math.IsInf(o.Rate, 0) {
		return nil, fmt.Errorf("rate %v: want transactions a second, above 0", o.Rate)
	}
	socket, err := newXPUB(o.Endpoint, false)
	if err != nil {
		return nil, err
	}
	return &Publisher{opts: o, socket: socket, counters: make(map[string]uint32)}, nil
}

// Endpoint is where subscribers connect to.
func (p *Publisher) Endpoint() string { return p.socket.bound }

// Close frees the socket. It must not be called while Run is running.
func (p *Publisher) Close() { p.socket.close(0) }

// Run waits for the first subscriber, so that nothing is lost to one that is a moment late, and publishes txs at the
// rate until they or ctx end. With Loop it goes on with the same transactions; each lap gives them another lock time,
// so that they have new txids as new transactions would. Their signatures no longer hold then, which nobody checks here.
func (p *Publisher) Run(ctx context.Context, txs []*wire.MsgTx) error {
	defer p.Close()
	if err := p.AwaitSubscriber(ctx, transcript.TopicRawTx); err != nil {
		return err
	}
	p.opts.Log.Info("publishing", "transactions", len(txs), "per_second", p.opts.Rate)
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
					p.opts.Log.Info("done", "transactions", sent)
					p.socket.close(linger)
					return nil
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
	return p.socket.await(ctx, topic)
}

func (p *Publisher) publish(tx *wire.MsgTx, lap int) error {
	again := *tx // shares the inputs and outputs, which do not change
	again.LockTime += uint32(lap)
	p.body.Reset()
	if err := again.Serialize(&p.body); err != nil {
		return err
	}
	return p.Send(transcript.TopicRawTx, p.body.Bytes())
}

// Send publishes one notification with the next counter. It is what Run uses, and how tests send what no node would.
func (p *Publisher) Send(topic string, body []byte) error {
	counter := binary.LittleEndian.AppendUint32(nil, p.counters[topic])
	p.counters[topic]++
	return p.SendFrames([]byte(topic), body, counter)
}

// SendFrames publishes frames as they are.
func (p *Publisher) SendFrames(frames ...[]byte) error {
	return p.socket.send(context.Background(), frames...)
}
