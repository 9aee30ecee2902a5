// Package replay replaces bitcoind, so that everything downstream can run without one. A Publisher publishes
// transactions from files over ZMQ; a Node plays a recording, over ZMQ and RPC.
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

// Options configure a Publisher.
type Options struct {
	Endpoint string  // ZMQ endpoint to bind; tcp://127.0.0.1:* takes a free port
	Rate     float64 // transactions a second, above 0. Mainnet has about 7
	Loop     bool    // restart at the end; see Publisher.Run
	Log      *slog.Logger
}

// A Publisher owns a bound ZMQ socket. It is for one goroutine.
type Publisher struct {
	opts     Options
	socket   *xpub
	counters map[string]uint32 // the next counter of each topic
	body     bytes.Buffer
}

// New binds the socket. Call Close, or Run, which closes it.
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

// Endpoint returns the address for subscribers.
func (p *Publisher) Endpoint() string { return p.socket.bound }

// Close closes the socket. It must not be called while Run is running.
func (p *Publisher) Close() { p.socket.close(0) }

// Run waits for the first subscriber, so that it receives every transaction, and publishes txs at the rate until they
// or ctx end. With Loop it repeats the same transactions; each lap changes their lock time, so that their txids are
// new. Their signatures are invalid then, which nothing here checks.
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

// AwaitSubscriber returns when the topic has a subscriber, or when ctx ends.
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

// Send publishes one notification with the next counter. Tests use it to send messages that no node would send.
func (p *Publisher) Send(topic string, body []byte) error {
	counter := binary.LittleEndian.AppendUint32(nil, p.counters[topic])
	p.counters[topic]++
	return p.SendFrames([]byte(topic), body, counter)
}

// SendFrames publishes frames unchanged.
func (p *Publisher) SendFrames(frames ...[]byte) error {
	return p.socket.send(context.Background(), frames...)
}
