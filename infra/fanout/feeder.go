package fanout

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/edge/ws"
	"sightglass/shared/contract"
)

// A Sink takes snapshots to a server: to an edge by way of Redis, to the floor directly.
type Sink interface {
	// Prepare builds what Send sends for the source's newest snapshot. What it builds is good until the next call.
	Prepare(s *Source) error
	Send(ctx context.Context) error
}

var (
	_ Sink = (*RedisSink)(nil)
	_ Sink = (*FloorSink)(nil)
)

// A RedisSink publishes as an ingester does.
type RedisSink struct {
	Client *redis.Client
	json   []byte
}

// Prepare implements Sink.
func (r *RedisSink) Prepare(s *Source) error {
	r.json = s.now.AppendJSON(r.json[:0])
	return nil
}

// Send implements Sink.
func (r *RedisSink) Send(ctx context.Context) error {
	_, err := r.Client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, contract.KeyLatest, r.json, 0)
		p.Publish(ctx, contract.Channel, r.json)
		return nil
	})
	return err
}

// A FloorSink builds the frame that a server of the protocol would send, and hands it to a Floor.
type FloorSink struct {
	Feed     io.Writer
	Protocol Protocol
	deflater *deflater
	text     []byte
	out      []byte
}

// Prepare implements Sink.
func (f *FloorSink) Prepare(s *Source) (err error) {
	deflate := f.Protocol.Deflate && f.Protocol.Subprotocol == "" // a delta is too small for it to pay
	if f.Protocol.Subprotocol == "" {
		f.text = s.now.AppendJSON(f.text[:0])
	} else {
		f.text = s.appendDelta(f.text[:0])
	}
	payload := f.text
	if deflate {
		if f.deflater == nil {
			f.deflater = newDeflater()
		}
		if payload, err = f.deflater.deflate(f.text); err != nil {
			return err
		}
	}
	f.out = ws.AppendFrame(append(f.out[:0], 0, 0, 0, 0), opText, deflate, payload)
	binary.BigEndian.PutUint32(f.out, uint32(len(f.out)-lengthSize))
	return nil
}

// Send implements Sink.
func (f *FloorSink) Send(context.Context) error {
	_, err := f.Feed.Write(f.out)
	return err
}

// A Feeder sends a snapshot on every tick, as long as it runs.
type Feeder struct {
	source  *Source
	sink    Sink
	tally   *Tally
	every   time.Duration
	stretch atomic.Pointer[stretch]
}

// NewFeeder makes a feeder that sends rate snapshots a second.
func NewFeeder(source *Source, sink Sink, tally *Tally, rate float64) *Feeder {
	return &Feeder{source: source, sink: sink, tally: tally, every: time.Duration(float64(time.Second) / rate)}
}

// Run feeds until ctx ends. Its error is the sink's.
func (f *Feeder) Run(ctx context.Context) error {
	ticker := time.NewTicker(f.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		s := f.stretch.Load()
		counted := s.tick()
		if !counted {
			f.stretch.CompareAndSwap(s, nil)
		}
		if err := f.send(ctx, counted); err != nil && ctx.Err() == nil {
			return fmt.Errorf("sending a snapshot: %w", err)
		}
	}
}

func (f *Feeder) send(ctx context.Context, counted bool) error {
	made := f.source.Next(time.Now(), f.every)
	if err := f.sink.Prepare(f.source); err != nil {
		return err
	}
	if counted {
		f.tally.Sent(int64(math.Round(made.Timestamp*1000)), time.Now())
	}
	return f.sink.Send(ctx)
}

// Stretch counts on the arrivals of the next n snapshots. It calls begin right before the first of them is sent, and
// end right before the one after the last, so that what lies between has cost them all and no other; then it returns.
func (f *Feeder) Stretch(ctx context.Context, n int, begin, end func()) error {
	s := &stretch{left: n, begin: begin, end: end, done: make(chan struct{})}
	f.stretch.Store(s)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type stretch struct {
	left       int
	begun      bool
	begin, end func()
	done       chan struct{}
}

// tick reports whether the next snapshot belongs to the stretch.
func (s *stretch) tick() bool {
	switch {
	case s == nil:
		return false
	case s.left == 0:
		s.end()
		close(s.done)
		return false
	case !s.begun:
		s.begun = true
		s.begin()
	}
	s.left--
	return true
}
