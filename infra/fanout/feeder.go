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

// A Sink delivers snapshots to a server: to an edge through Redis, to the floor directly.
type Sink interface {
	// Prepare encodes the source's newest snapshot for Send, so that encoding is not part of the latency.
	Prepare(s *Source) error
	// Send sends what Prepare encoded last.
	Send(ctx context.Context) error
}

var (
	_ Sink = (*RedisSink)(nil)
	_ Sink = (*FloorSink)(nil)
)

// A RedisSink publishes to Redis as an ingester does.
type RedisSink struct {
	Client *redis.Client
	json   []byte
}

// Prepare implements Sink.
func (r *RedisSink) Prepare(s *Source) error {
	r.json = s.latest.AppendJSON(r.json[:0])
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

// A FloorSink builds the frame that a server of the protocol sends, and writes it to a Floor's feed.
type FloorSink struct {
	Feed     io.Writer
	Protocol Protocol
	text     []byte
	out      []byte // length and frame
}

// Prepare implements Sink.
func (f *FloorSink) Prepare(s *Source) error {
	deflate := f.Protocol.Deflate && f.Protocol.Subprotocol == "" // edges do not deflate deltas, which are too small
	if f.Protocol.Subprotocol == "" {
		f.text = s.latest.AppendJSON(f.text[:0])
	} else {
		f.text = s.appendDelta(f.text[:0])
	}
	payload := f.text
	if deflate {
		payload = ws.Deflate(f.text)
	}
	f.setFrame(payload, deflate)
	return nil
}

// setFrame builds a text frame, preceded by its length.
func (f *FloorSink) setFrame(payload []byte, deflated bool) {
	f.out = ws.AppendFrame(append(f.out[:0], 0, 0, 0, 0), ws.Text, deflated, payload)
	binary.BigEndian.PutUint32(f.out, uint32(len(f.out)-lengthSize))
}

// Send implements Sink.
func (f *FloorSink) Send(context.Context) error {
	_, err := f.Feed.Write(f.out)
	return err
}

// A Feeder sends a snapshot at a fixed rate.
type Feeder struct {
	source     *Source
	sink       Sink
	deliveries *Deliveries
	period     time.Duration // between snapshots
	interval   atomic.Pointer[interval]
}

// NewFeeder returns a feeder that sends rate snapshots a second. deliveries may be nil if Measure is not called.
func NewFeeder(source *Source, sink Sink, deliveries *Deliveries, rate float64) *Feeder {
	return &Feeder{source: source, sink: sink, deliveries: deliveries, period: time.Duration(float64(time.Second) / rate)}
}

// Run sends snapshots until ctx ends, or until the sink fails: then it returns the sink's error.
func (f *Feeder) Run(ctx context.Context) error {
	ticker := time.NewTicker(f.period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		i := f.interval.Load()
		measured := i.next()
		if !measured {
			f.interval.CompareAndSwap(i, nil)
		}
		if err := f.send(ctx, measured); err != nil && ctx.Err() == nil {
			return fmt.Errorf("sending a snapshot: %w", err)
		}
	}
}

func (f *Feeder) send(ctx context.Context, measured bool) error {
	snapshot := f.source.Next(time.Now(), f.period)
	if err := f.sink.Prepare(f.source); err != nil {
		return err
	}
	if measured {
		f.deliveries.Sent(timestampMillis(snapshot), time.Now())
	}
	return f.sink.Send(ctx)
}

// timestampMillis returns the snapshot's timestamp in Unix milliseconds.
func timestampMillis(s *contract.Snapshot) int64 { return int64(math.Round(s.Timestamp * 1000)) }

// Measure records the deliveries of the next n snapshots. It calls begin immediately before the first of them is sent and
// end immediately before the snapshot after the last, so that the time between covers the cost of exactly n snapshots.
// Then it returns, or with ctx's error when ctx ends. Run must be running.
func (f *Feeder) Measure(ctx context.Context, n int, begin, end func()) error {
	i := &interval{left: n, begin: begin, end: end, done: make(chan struct{})}
	f.interval.Store(i)
	select {
	case <-i.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An interval is a number of consecutive snapshots that are measured.
type interval struct {
	left       int
	begun      bool
	begin, end func()
	done       chan struct{}
}

// next reports whether the next snapshot belongs to the interval, which may be nil.
func (i *interval) next() bool {
	switch {
	case i == nil:
		return false
	case i.left == 0:
		i.end()
		close(i.done)
		return false
	case !i.begun:
		i.begun = true
		i.begin()
	}
	i.left--
	return true
}
