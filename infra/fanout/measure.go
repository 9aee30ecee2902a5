package fanout

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Server is what is measured.
type Server struct {
	Name    string
	Addr    netip.AddrPort
	Process Process
	Core    int    // that it is pinned to; -1: none
	Metrics string // URL of its Prometheus metrics; empty: none
	Sink    Sink
}

// A Load is what it is measured with.
type Load struct {
	Clients  int
	Stalled  int           // of these, so many stop reading after a first stretch, and a second follows
	Grow     int           // after each stretch so many more, and another, until one is not Good
	Churn    int           // clients a minute that come and go beside these
	Stay     time.Duration // of each of those
	Rate     float64       // snapshots a second
	Points   int           // new points in a snapshot
	Duration time.Duration // of a stretch
	Protocol Protocol

	Progress func(fmt.Stringer) // is told of each look at a run with Churn; nil: nobody
}

const (
	// settle is how long a server is left in peace after something has changed: a few snapshots, a garbage collection.
	settle = 2 * time.Second
	// late is how long after a stretch its last arrivals still count.
	late = 3 * time.Second
)

// Figures are the result of one stretch.
type Figures struct {
	Phase         string  `json:"phase,omitempty"` // empty, or "stalled": while some clients did not read
	Clients       int     `json:"clients"`         // those that read, all the time
	Seconds       float64 `json:"seconds"`
	Snapshots     int     `json:"snapshots"`
	Messages      int64   `json:"messages"`
	MessageBytes  float64 `json:"message_bytes"`              // payload, on average
	ClientBytes   float64 `json:"bytes_per_client_second"`    // on the wire, without TCP
	CPUPerMillion float64 `json:"cpu_s_per_million_messages"` // of the server's process; also µs a message
	Server        float64 `json:"server_cpu_share"`           // of one core
	Others        float64 `json:"others_cpu_share"`           // of the server's core, used by somebody else
	Generator     float64 `json:"generator_cpu_share"`        // of one core; above 0.7 it is the generator that is measured
	Memory        float64 `json:"kib_per_client"`             // RSS with the clients connected, less that without
	MemoryEnd     float64 `json:"kib_per_client_at_the_end"`  // and after the stretch
	P50           float64 `json:"latency_p50_ms"`             // from sending the snapshot to a client's last byte
	P99           float64 `json:"latency_p99_ms"`             //
	Max           float64 `json:"latency_max_ms"`             //
	SpreadP50     float64 `json:"spread_p50_ms"`              // from the first client to the last, of each snapshot
	SpreadP99     float64 `json:"spread_p99_ms"`              //
	Delivered     float64 `json:"delivered"`                  // share of snapshots times clients
	Untimed       uint64  `json:"untimed_messages"`           // messages that are no snapshot we know
}

// A Run is the result of one server under one load.
type Run struct {
	Stretches []Figures      `json:"stretches"`
	Soak      []Sample       `json:"soak,omitempty"`   // with Churn
	Passed    int            `json:"passed,omitempty"` // clients that have come and gone
	Ends      map[string]int `json:"ends,omitempty"`   // connections that have failed or ended, by why
}

// goodLatency is what the design promises: from the analyzer's update to the client in under 100 ms.
const goodLatency = 100

// Good reports whether every client that read was served as it should be.
func (f Figures) Good() bool { return f.P99 < goodLatency && f.Delivered >= 1 }

func (r *Run) last() Figures { return r.Stretches[len(r.Stretches)-1] }

// Carries is the most clients that were served well, of the stretches.
func (r *Run) Carries() (clients int) {
	for _, f := range r.Stretches {
		if f.Good() {
			clients = max(clients, f.Clients)
		}
	}
	return clients
}

// better gives the run that the machine's other work has disturbed less: the one that ended with the lower p99. The
// older one may be nil.
func better(old, r *Run) *Run {
	if old == nil || r.Carries() > old.Carries() || r.Carries() == old.Carries() && r.last().P99 < old.last().P99 {
		return r
	}
	return old
}

// A run is a measurement under way.
type run struct {
	server     Server
	load       Load
	tally      *Tally
	feeder     *Feeder
	clients    *Generator
	began      time.Time
	idle, full int64 // the server's RSS before the first client, and with all connected
	result     Run
}

// Measure runs a load against a server. ErrNotOffered means that the server does not speak the protocol.
func Measure(ctx context.Context, s Server, l Load) (*Run, error) {
	most := l.Clients + l.Stalled + l.passingAtOnce()
	if l.Grow > 0 {
		most = mostClients
	}
	if err := RaiseFiles(most); err != nil {
		return nil, err
	}
	r := &run{server: s, load: l, tally: NewTally(), began: time.Now()}
	r.feeder = NewFeeder(NewSource(l.Points, r.began), s.Sink, r.tally, l.Rate)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.feeder.Run(ctx) })
	g.Go(func() error {
		defer stop()
		return r.measure(ctx)
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return &r.result, nil
}

// passingAtOnce is how many passing clients may be there at once: each stays, and then may wait as long for an answer.
func (l Load) passingAtOnce() int { return int(float64(l.Churn) * (2 * l.Stay).Minutes()) }

func (r *run) measure(ctx context.Context) (err error) {
	if err := pause(ctx, settle); err != nil {
		return err
	}
	if r.idle, err = r.server.Process.RSS(); err != nil {
		return err
	}
	if err := r.sample(); err != nil {
		return err
	}
	if r.clients, err = NewGenerator(r.server.Addr, r.load.Protocol, r.tally); err != nil {
		return err
	}
	err = r.withClients(ctx)
	if err := errors.Join(err, r.clients.Close()); err != nil {
		return err
	}
	if r.load.Churn == 0 {
		return nil
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	return r.sample()
}

func (r *run) withClients(ctx context.Context) (err error) {
	if err := r.clients.Connect(ctx, r.load.Clients); err != nil {
		return err
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	if r.full, err = r.server.Process.RSS(); err != nil {
		return err
	}
	if err := r.stretchWithChurn(ctx); err != nil {
		return err
	}
	if r.load.Stalled > 0 {
		if err := r.stretchWithStalled(ctx); err != nil {
			return err
		}
	}
	if err := r.grow(ctx); err != nil {
		return err
	}
	r.result.Ends, err = r.clients.Ends()
	return err
}

// grow adds clients until the server cannot serve them well.
func (r *run) grow(ctx context.Context) error {
	more := r.load.Grow
	for more > 0 && r.result.last().Good() && r.clients.Steady()+more <= mostClients {
		if err := r.clients.Connect(ctx, more); err != nil {
			return err
		}
		if err := pause(ctx, settle); err != nil {
			return err
		}
		if err := r.stretch(ctx, ""); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) stretchWithChurn(ctx context.Context) error {
	if r.load.Churn == 0 {
		return r.stretch(ctx, "")
	}
	if err := r.clients.Churn(r.load.Churn, r.load.Stay); err != nil {
		return err
	}
	sampling, stop := context.WithCancel(ctx)
	defer stop()
	g, both := errgroup.WithContext(sampling)
	g.Go(func() error { return r.sampleUntil(both) })
	g.Go(func() error { defer stop(); return r.stretch(both, "") })
	if err := g.Wait(); err != nil {
		return err
	}
	return r.endChurn(ctx)
}

// endChurn waits until all passing clients have left.
func (r *run) endChurn(ctx context.Context) error {
	if err := r.clients.Churn(0, r.load.Stay); err != nil {
		return err
	}
	for {
		here, gone, err := r.clients.Passing()
		if err != nil {
			return err
		}
		r.result.Passed = gone
		if here == 0 {
			return nil
		}
		if err := pause(ctx, patience); err != nil {
			return err
		}
	}
}

func (r *run) stretchWithStalled(ctx context.Context) error {
	if err := r.clients.Stall(r.load.Stalled); err != nil {
		return err
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	return r.stretch(ctx, "stalled")
}

// A look is what the counters said at one moment.
type look struct {
	at                      time.Time
	server, core, generator time.Duration // CPU used
	messages, payload, wire int64
	err                     error
}

func (r *run) look() (l look) {
	var err [3]error
	l.at = time.Now()
	l.server, err[0] = r.server.Process.CPU()
	if r.server.Core >= 0 {
		l.core, err[1] = coreBusy(r.server.Core)
	}
	l.generator, err[2] = Process(os.Getpid()).CPU()
	c := &r.clients.counts
	l.messages, l.payload, l.wire = c.messages.Load(), c.payload.Load(), c.wire.Load()
	l.err = errors.Join(err[:]...)
	return l
}

// stretch sends the load's snapshots and adds the figures to the result.
func (r *run) stretch(ctx context.Context, phase string) error {
	snapshots := max(int(math.Round(r.load.Duration.Seconds()*r.load.Rate)), 1)
	readers := r.clients.Steady()
	var before, after look
	if err := r.feeder.Stretch(ctx, snapshots, func() { before = r.look() }, func() { after = r.look() }); err != nil {
		return err
	}
	for end := time.Now().Add(late); !r.tally.complete(readers) && time.Now().Before(end); {
		if err := pause(ctx, patience); err != nil {
			return err
		}
	}
	rss, err := r.server.Process.RSS()
	if err := errors.Join(before.err, after.err, err); err != nil {
		return err
	}
	f := Figures{Phase: phase, Clients: readers, Snapshots: snapshots}
	f.arrivals(r.tally.Take(readers))
	f.costs(before, after)
	f.Memory = perClient(r.full-r.idle, r.load.Clients)
	f.MemoryEnd = perClient(rss-r.idle, r.load.Clients)
	r.result.Stretches = append(r.result.Stretches, f)
	return nil
}

func perClient(bytes int64, clients int) float64 { return float64(bytes) / 1024 / float64(clients) }

func (f *Figures) arrivals(a *Arrivals) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	f.P50, f.P99, f.Max = ms(a.Latency.Quantile(0.5)), ms(a.Latency.Quantile(0.99)), ms(a.Latency.Max())
	f.SpreadP50, f.SpreadP99 = ms(a.Spread.Quantile(0.5)), ms(a.Spread.Quantile(0.99))
	f.Delivered, f.Untimed = a.Delivered, a.Untimed
}

func (f *Figures) costs(before, after look) {
	f.Seconds = after.at.Sub(before.at).Seconds()
	f.Messages = after.messages - before.messages
	f.ClientBytes = float64(after.wire-before.wire) / f.Seconds / float64(f.Clients)
	if f.Messages > 0 {
		f.MessageBytes = float64(after.payload-before.payload) / float64(f.Messages)
		f.CPUPerMillion = (after.server - before.server).Seconds() * 1e6 / float64(f.Messages)
	}
	f.Server = (after.server - before.server).Seconds() / f.Seconds
	f.Others = max((after.core-before.core).Seconds()/f.Seconds-f.Server, 0)
	f.Generator = (after.generator - before.generator).Seconds() / f.Seconds
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
