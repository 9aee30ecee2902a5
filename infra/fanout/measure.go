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

// A Server is a server to measure.
type Server struct {
	Name    string
	Addr    netip.AddrPort
	Process Process
	Core    int    // core that it is pinned to; -1: not pinned
	Metrics string // URL of its Prometheus metrics; empty: none
	Sink    Sink
}

// A Load describes the clients and snapshots of a measurement.
type Load struct {
	Clients  int
	Stalled  int           // clients that stop reading after the first interval, before a second one
	Grow     int           // clients to add after each interval, until one misses the latency target
	Churn    int           // additional clients a minute that connect and leave
	Stay     time.Duration // time that each of those stays connected
	Rate     float64       // snapshots a second
	Points   int           // average number of new points in a snapshot
	Duration time.Duration // of an interval
	Protocol Protocol

	Progress func(fmt.Stringer) // called with each Sample during churn; may be nil
}

const (
	// settleTime is the pause after a change of the load: some snapshots, and a garbage collection.
	settleTime = 2 * time.Second
	// deliveryTimeout is the time after an interval within which its last deliveries still count.
	deliveryTimeout = 3 * time.Second
)

// Figures are the result of one interval.
type Figures struct {
	Phase         string  `json:"phase,omitempty"` // "", or "stalled" while some clients do not read
	Clients       int     `json:"clients"`         // clients that read, without churning ones
	Seconds       float64 `json:"seconds"`
	Snapshots     int     `json:"snapshots"`
	Messages      int64   `json:"messages"`
	MessageBytes  float64 `json:"message_bytes"`              // average payload
	ClientBytes   float64 `json:"bytes_per_client_second"`    // bytes received, with frame headers, without TCP and IP
	CPUPerMillion float64 `json:"cpu_s_per_million_messages"` // of the server's process; equals µs per message
	Server        float64 `json:"server_cpu_share"`           // of one core
	Others        float64 `json:"others_cpu_share"`           // of the server's core, used by other processes and interrupts
	Generator     float64 `json:"generator_cpu_share"`        // of one core; above 0.7 the generator distorts latencies
	Memory        float64 `json:"kib_per_client"`             // RSS after the clients connected, minus RSS before
	MemoryEnd     float64 `json:"kib_per_client_at_the_end"`  // RSS after the interval, minus RSS before the clients connected
	P50           float64 `json:"latency_p50_ms"`             // from sending a snapshot to the arrival of its last byte
	P99           float64 `json:"latency_p99_ms"`             //
	Max           float64 `json:"latency_max_ms"`             //
	SpreadP50     float64 `json:"spread_p50_ms"`              // from the first client to the last, for each snapshot
	SpreadP99     float64 `json:"spread_p99_ms"`              //
	Delivered     float64 `json:"delivered"`                  // deliveries divided by snapshots times clients
	Untimed       uint64  `json:"untimed_messages"`           // messages whose snapshot is unknown
}

// A Run is the result of one server under one load.
type Run struct {
	Intervals []Figures      `json:"intervals"`
	Soak      []Sample       `json:"soak,omitempty"`    // during churn
	Churned   int            `json:"churned,omitempty"` // clients that have connected and left
	Ends      map[string]int `json:"ends,omitempty"`    // failed and ended connections, by reason
}

// targetLatency is the design's maximum p99 latency in milliseconds, from the ingester's update to the client.
const targetLatency = 100

// MeetsTarget reports whether the p99 latency is below the target and every client that reads received every snapshot.
func (f Figures) MeetsTarget() bool { return f.P99 < targetLatency && f.Delivered >= 1 }

func (r *Run) last() Figures { return r.Intervals[len(r.Intervals)-1] }

// Capacity returns the largest number of clients with which an interval met the target.
func (r *Run) Capacity() (clients int) {
	for _, f := range r.Intervals {
		if f.MeetsTarget() {
			clients = max(clients, f.Clients)
		}
	}
	return clients
}

// betterRun returns the run that other processes disturbed less: the one with the larger capacity, then with the lower p99
// latency at the end. old may be nil.
func betterRun(old, r *Run) *Run {
	if old == nil || r.Capacity() > old.Capacity() || r.Capacity() == old.Capacity() && r.last().P99 < old.last().P99 {
		return r
	}
	return old
}

// A run is a measurement in progress.
type run struct {
	server     Server
	load       Load
	deliveries *Deliveries
	feeder     *Feeder
	clients    *Generator
	start      time.Time
	idle, full int64 // the server's RSS in bytes before the first client, and with all clients connected
	result     Run
}

// Measure measures a server under a load. Its error is ErrNotOffered if the server does not offer the protocol.
func Measure(ctx context.Context, s Server, l Load) (*Run, error) {
	// A churning client stays connected, and then may wait as long for the response to its close frame.
	connections := l.Clients + l.Stalled + int(float64(l.Churn)*(2*l.Stay).Minutes())
	if l.Grow > 0 {
		connections = maxClients
	}
	if err := RaiseFileLimit(connections); err != nil {
		return nil, err
	}
	r := &run{server: s, load: l, deliveries: NewDeliveries(), start: time.Now()}
	r.feeder = NewFeeder(NewSource(l.Points, r.start), s.Sink, r.deliveries, l.Rate)
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

// measure connects the clients, measures, and disconnects them.
func (r *run) measure(ctx context.Context) (err error) {
	if err := sleep(ctx, settleTime); err != nil {
		return err
	}
	if r.idle, err = r.server.Process.RSS(); err != nil {
		return err
	}
	if err := r.sample(); err != nil {
		return err
	}
	if r.clients, err = NewGenerator(r.server.Addr, r.load.Protocol, r.deliveries); err != nil {
		return err
	}
	err = r.measureClients(ctx)
	if err := errors.Join(err, r.clients.Close()); err != nil {
		return err
	}
	if r.load.Churn == 0 {
		return nil
	}
	if err := sleep(ctx, settleTime); err != nil {
		return err
	}
	return r.sample()
}

// measureClients measures all intervals of the load.
func (r *run) measureClients(ctx context.Context) (err error) {
	if err := r.clients.Connect(ctx, r.load.Clients); err != nil {
		return err
	}
	if err := sleep(ctx, settleTime); err != nil {
		return err
	}
	if r.full, err = r.server.Process.RSS(); err != nil {
		return err
	}
	if err := r.measureChurn(ctx); err != nil {
		return err
	}
	if r.load.Stalled > 0 {
		if err := r.measureStalled(ctx); err != nil {
			return err
		}
	}
	if err := r.grow(ctx); err != nil {
		return err
	}
	r.result.Ends, err = r.clients.Ends()
	return err
}

// grow adds clients until an interval misses the target, or no more clients fit.
func (r *run) grow(ctx context.Context) error {
	more := r.load.Grow
	for more > 0 && r.result.last().MeetsTarget() && r.clients.Steady()+more <= maxClients {
		if err := r.clients.Connect(ctx, more); err != nil {
			return err
		}
		if err := sleep(ctx, settleTime); err != nil {
			return err
		}
		if err := r.measureInterval(ctx, ""); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) measureChurn(ctx context.Context) error {
	if r.load.Churn == 0 {
		return r.measureInterval(ctx, "")
	}
	if err := r.clients.Churn(r.load.Churn, r.load.Stay); err != nil {
		return err
	}
	sampling, stop := context.WithCancel(ctx)
	defer stop()
	g, measuring := errgroup.WithContext(sampling)
	g.Go(func() error { return r.sampleUntil(measuring) })
	g.Go(func() error { defer stop(); return r.measureInterval(measuring, "") })
	if err := g.Wait(); err != nil {
		return err
	}
	return r.endChurn(ctx)
}

// endChurn waits until all churning clients have left.
func (r *run) endChurn(ctx context.Context) error {
	if err := r.clients.Churn(0, r.load.Stay); err != nil {
		return err
	}
	for {
		active, disconnected, err := r.clients.Churned()
		if err != nil {
			return err
		}
		r.result.Churned = disconnected
		if active == 0 {
			return nil
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
}

func (r *run) measureStalled(ctx context.Context) error {
	if err := r.clients.Stall(r.load.Stalled); err != nil {
		return err
	}
	if err := sleep(ctx, settleTime); err != nil {
		return err
	}
	return r.measureInterval(ctx, "stalled")
}

// usage is the CPU time used and the data received until one point in time.
type usage struct {
	at                      time.Time
	server, core, generator time.Duration // CPU time
	messages, payload, wire int64
	err                     error
}

func (r *run) usage() (u usage) {
	var err [3]error
	u.at = time.Now()
	u.server, err[0] = r.server.Process.CPU()
	if r.server.Core >= 0 {
		u.core, err[1] = coreCPU(r.server.Core)
	}
	u.generator, err[2] = Process(os.Getpid()).CPU()
	c := &r.clients.counts
	u.messages, u.payload, u.wire = c.messages.Load(), c.payload.Load(), c.wire.Load()
	u.err = errors.Join(err[:]...)
	return u
}

// measureInterval measures one interval and adds its figures to the result.
func (r *run) measureInterval(ctx context.Context, phase string) error {
	snapshots := max(int(math.Round(r.load.Duration.Seconds()*r.load.Rate)), 1)
	readers := r.clients.Steady()
	var before, after usage
	if err := r.feeder.Measure(ctx, snapshots, func() { before = r.usage() }, func() { after = r.usage() }); err != nil {
		return err
	}
	for end := time.Now().Add(deliveryTimeout); !r.deliveries.complete(readers) && time.Now().Before(end); {
		if err := sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
	rss, err := r.server.Process.RSS()
	if err := errors.Join(before.err, after.err, err); err != nil {
		return err
	}
	f := Figures{Phase: phase, Clients: readers, Snapshots: snapshots}
	f.setDeliveries(r.deliveries.Collect(readers))
	f.setCosts(before, after)
	f.Memory = perClient(r.full-r.idle, r.load.Clients)
	f.MemoryEnd = perClient(rss-r.idle, r.load.Clients)
	r.result.Intervals = append(r.result.Intervals, f)
	return nil
}

// perClient returns KiB per client.
func perClient(bytes int64, clients int) float64 { return float64(bytes) / 1024 / float64(clients) }

func (f *Figures) setDeliveries(d *DeliveryStats) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	f.P50, f.P99, f.Max = ms(d.Latency.Quantile(0.5)), ms(d.Latency.Quantile(0.99)), ms(d.Latency.Max())
	f.SpreadP50, f.SpreadP99 = ms(d.Spread.Quantile(0.5)), ms(d.Spread.Quantile(0.99))
	f.Delivered, f.Untimed = d.Delivered, d.Untimed
}

func (f *Figures) setCosts(before, after usage) {
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

// sleep waits for d. It returns ctx's error if ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
