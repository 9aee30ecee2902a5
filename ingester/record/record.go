// Package record writes a live node's messages and RPC responses to a transcript that package replay can play.
package record

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"sightglass/ingester/transcript"
	"sightglass/ingester/zmqsub"
)

// Options configure a recording.
type Options struct {
	ZMQ     []string     // the node's endpoints, one or several
	Blocks  bool         // whole blocks too, which are about as large as everything else together
	RPC     Caller       // nil: no RPC responses
	MaxSize Size         // of the two files together; see transcript.NewWriter
	Out     string       // path of the file, which must not exist
	Log     *slog.Logger // for errors during the recording
}

const (
	// checkInterval is the time between two mempool lists. A mainnet node's list has about 5 MB.
	checkInterval = time.Minute
	// settleDelay is how long after a connection the subscription is surely active: the RPC requests wait for it, so
	// that nothing happens between a response and the first notification.
	settleDelay = time.Second
	// flushInterval bounds the data that is lost when the process is killed.
	flushInterval = time.Second
	// minSize holds the responses about a large mempool a few times.
	minSize = 10 * MB
)

// Run records until ctx ends. The node may come and go, and a failed RPC call is logged and leaves a gap. The returned
// error is about the settings, the socket or the file; what was written before it is complete.
func Run(ctx context.Context, o Options) error {
	if o.MaxSize < minSize {
		return fmt.Errorf("a size of %v: want %v or more", o.MaxSize, minSize)
	}
	return newRecorder(o).run(ctx)
}

// A recorder has one goroutine for the file, one for the socket, and one for RPC.
type recorder struct {
	opts                       Options
	checkInterval, settleDelay time.Duration
	start                      time.Time
	logLimit                   rate.Sometimes // limits log lines that may come often

	file          *transcript.Writer
	notifications atomic.Int64 // written to the file
	responseCount int          // written to the file
	messages      chan zmqsub.Message
	rpcMutex      sync.Mutex
	requests      chan request
	responses     chan transcript.Line
}

// queueSize is how many messages and requests may wait: a block's transactions, and the blocks of a node that catches
// up.
const queueSize = 4096

func newRecorder(o Options) *recorder {
	return &recorder{
		opts: o, checkInterval: checkInterval, settleDelay: settleDelay,
		start:     time.Now(),
		logLimit:  rate.Sometimes{Interval: time.Second},
		messages:  make(chan zmqsub.Message, queueSize),
		requests:  make(chan request, queueSize),
		responses: make(chan transcript.Line),
	}
}

func (r *recorder) run(ctx context.Context) (err error) {
	topics := []string{transcript.TopicRawTx, transcript.TopicSequence, transcript.TopicHashBlock}
	if r.opts.Blocks {
		topics = append(topics, transcript.TopicRawBlock)
	}
	listener, err := zmqsub.New(r.opts.ZMQ, topics, r.opts.Log)
	if err != nil {
		return err
	}
	begun := false
	r.file, err = transcript.NewWriter(r.opts.Out, int64(r.opts.MaxSize), func() ([]transcript.Line, error) {
		if !begun { // the connection is not up yet
			begun = true
			return nil, nil
		}
		r.opts.Log.Info("rotated the file", "older", r.opts.Out+".1")
		return r.baseline(ctx), nil
	})
	if err != nil {
		return err
	}
	r.opts.Log.Info("writing", "file", r.opts.Out, "zmq", r.opts.ZMQ)
	if r.opts.RPC == nil {
		r.opts.Log.Warn("without RPC the recording lacks the mempool at the start, the headers of blocks, and the lists that a replay checks itself by")
	}
	defer func() {
		err = errors.Join(err, r.file.Close())
		r.opts.Log.Info("done", "notifications", r.notifications.Load(), "responses", r.responseCount)
	}()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return listener.Run(ctx, r.messages) })
	g.Go(func() error { r.runRequests(ctx); return nil })
	g.Go(func() error { return r.write(ctx) })
	return g.Wait()
}

// write is the goroutine that owns the file.
func (r *recorder) write(ctx context.Context) error {
	flush, check := time.NewTicker(flushInterval), time.NewTicker(r.checkInterval)
	defer flush.Stop()
	defer check.Stop()
	var settled <-chan time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case m := <-r.messages:
			if m.Kind == zmqsub.Up {
				settled = time.After(r.settleDelay)
			}
			err = r.writeMessage(m)
		case line := <-r.responses:
			r.responseCount++
			err = r.file.Write(line)
		case <-settled:
			r.enqueue(r.baseline)
		case <-check.C:
			r.enqueue(r.mempool)
		case <-flush.C:
			err = r.file.Flush()
		}
		if err != nil {
			return err
		}
	}
}

func (r *recorder) writeMessage(m zmqsub.Message) error {
	switch {
	case m.Kind == zmqsub.Up:
		r.opts.Log.Info("connected to bitcoind")
		return nil
	case m.Kind == zmqsub.Down:
		r.opts.Log.Warn("lost the connection to bitcoind; reconnecting")
		return nil
	case len(m.Frames) != 3 || len(m.Frames[0]) == 0 || len(m.Frames[2]) != 4:
		r.logLimit.Do(func() { r.opts.Log.Warn("skipped a message that is not a notification of bitcoind") })
		return nil
	}
	line := transcript.Line{
		T: r.at(m.At), Topic: string(m.Frames[0]), Body: m.Frames[1], Counter: binary.LittleEndian.Uint32(m.Frames[2]),
	}
	if s, err := transcript.ParseSequence(line.Body); err == nil && line.Topic == transcript.TopicSequence && s.Letter == transcript.Connected {
		r.enqueue(func(ctx context.Context) []transcript.Line { return r.call(ctx, nil, "getblockheader", s.Hash) })
	}
	r.notifications.Add(1)
	return r.file.Write(line)
}

// at returns the T of a moment, to the microsecond.
func (r *recorder) at(t time.Time) float64 {
	return math.Round(t.Sub(r.start).Seconds()*1e6) / 1e6
}
