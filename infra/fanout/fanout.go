// Package fanout measures an edge's fan-out to many WebSocket clients: latency, CPU time and memory. The same run measures
// a baseline, the Floor, because absolute figures depend on the machine and only ratios are comparable. It runs on Linux
// only, and uses the loopback network only.
//
// The Generator has its own clients instead of those of shared/client, which decode and keep every snapshot. Per message,
// those take 35 µs of CPU time for deltas and 670 µs for keyframes, instead of 6 and 8; per client, 85 to 115 KiB of memory
// instead of 3 to 5 (BenchmarkClients, 1,000 clients on one core). The last of 1,000 clients would receive a keyframe after
// 0.7 s instead of 9 ms, so the latencies would be those of the clients.
package fanout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/infra/internal/redisproc"
)

// Options are the settings of a comparison. Their tags hold the defaults and the help.
type Options struct {
	Edge     string        `default:"bin/edge" help:"The edge program. It reads its settings from the environment, for example SIGHTGLASS_MAX_CLIENTS." type:"existingfile"`
	Clients  int           `default:"2000" env:"CLIENTS" help:"Clients that stay connected, 1 to 19000."`
	Duration time.Duration `default:"10s" env:"DURATION" help:"Measured time for each server and protocol."`
	Protocol []string      `default:"plain,deflate,delta" env:"PROTOCOL" help:"Any of plain, deflate, delta, delta-deflate."`
	Rate     float64       `default:"2" env:"RATE" help:"Snapshots a second, 0.1 to 100."`
	Points   int           `default:"8" env:"POINTS" help:"Average number of new points in a snapshot, 0 to 500. Mainnet has about 8."`
	Churn    int           `default:"0" env:"CHURN" help:"Additional clients a minute that connect and leave, 0 to 10000. Also prints the edge's resource usage."`
	Stalled  int           `default:"0" env:"STALLED" help:"Number of clients that stop reading after the measurement. The others are then measured again."`
	Grow     int           `default:"0" env:"GROW" help:"Clients to add after each measurement, until the p99 latency reaches 100 ms: the capacity of a core."`
	Rounds   int           `default:"1" env:"ROUNDS" help:"Number of measurements, 1 to 20, of which the best is kept: for a busy machine."`
	Floor    bool          `default:"true" negatable:"" env:"FLOOR" help:"Measure the floor too."`

	Progress func(fmt.Stringer) `kong:"-"` // called with each step and with each sample during churn; may be nil
}

// maxClients is the number of clients that the usual hard limit of 20,000 open files allows, with a margin for other files.
const maxClients = 19_000

// Validate returns an error that names every invalid setting and its valid values.
func (o Options) Validate() error {
	var errs []error
	check := func(name string, value, minimum, maximum float64) {
		if !(value >= minimum && value <= maximum) {
			errs = append(errs, fmt.Errorf("--%s %v: want %v to %v", name, value, minimum, maximum))
		}
	}
	check("clients", float64(o.Clients), 1, maxClients)
	check("rate", o.Rate, 0.1, 100)
	check("points", float64(o.Points), 0, 500)
	check("churn", float64(o.Churn), 0, 10_000)
	check("grow", float64(o.Grow), 0, maxClients)
	check("rounds", float64(o.Rounds), 1, 20)
	check("stalled", float64(o.Stalled), 0, float64(max(o.Clients-1, 0)))
	if o.Duration <= 0 {
		errs = append(errs, fmt.Errorf("--duration %v: want more than 0", o.Duration))
	}
	for _, name := range o.Protocol {
		if _, ok := Protocols[name]; !ok {
			errs = append(errs, fmt.Errorf("--protocol %s: want any of plain, deflate, delta, delta-deflate", name))
		}
	}
	return errors.Join(errs...)
}

func (o Options) load(protocol string) Load {
	return Load{
		Clients: o.Clients, Grow: o.Grow, Stalled: o.Stalled, Churn: o.Churn, Stay: ChurnStay, Rate: o.Rate, Points: o.Points,
		Duration: o.Duration, Protocol: Protocols[protocol], Progress: o.Progress,
	}
}

// A comparison measures several servers with the same options.
type comparison struct {
	opts  Options
	core  int // that the servers are pinned to
	redis *redisproc.Server
}

// Compare measures the edge and the floor with each protocol. It returns an error if the options are invalid, a program is
// missing or fails, or clients cannot connect. It pins this process to all cores but the server's.
func Compare(ctx context.Context, o Options) (report *Report, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	core, others, err := Cores()
	if err != nil {
		return nil, err
	}
	if err := pinSelf(&others); err != nil {
		return nil, err
	}
	c := &comparison{opts: o, core: core}
	if c.redis, err = redisproc.New(); err != nil {
		return nil, err
	}
	if err := c.redis.Start(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.redis.Kill()) }()
	report = &Report{
		Clients: o.Clients, Rate: o.Rate, Points: o.Points, Seconds: o.Duration.Seconds(),
		Core: core, Shared: others.IsSet(core),
	}
	for _, protocol := range o.Protocol {
		result, err := c.compare(ctx, protocol)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", protocol, err)
		}
		report.Protocols = append(report.Protocols, result)
	}
	return report, nil
}

// compare measures the edge and the floor with one protocol, as many rounds as the options say.
func (c *comparison) compare(ctx context.Context, protocol string) (Comparison, error) {
	result := Comparison{Protocol: protocol}
	for range c.opts.Rounds {
		edge, err := c.measureEdge(ctx, protocol)
		if errors.Is(err, ErrNotOffered) {
			result.NotOffered = true
			return result, nil
		}
		if err != nil {
			return result, fmt.Errorf("edge: %w", err)
		}
		result.Edge = betterRun(result.Edge, edge)
		if !c.opts.Floor {
			continue
		}
		floor, err := c.measureFloor(ctx, protocol)
		if err != nil {
			return result, fmt.Errorf("floor: %w", err)
		}
		result.Floor = betterRun(result.Floor, floor)
	}
	return result, nil
}

// progress reports that the measurement of a server starts.
func (c *comparison) progress(protocol, server string) {
	if c.opts.Progress != nil {
		c.opts.Progress(step("measuring " + protocol + ": " + server))
	}
}

// A step is a line of progress.
type step string

func (s step) String() string { return string(s) }

func (c *comparison) measureEdge(ctx context.Context, protocol string) (run *Run, err error) {
	c.progress(protocol, "the edge")
	addr, metrics, err := freeAddrs()
	if err != nil {
		return nil, err
	}
	child, err := launch(c.core, c.opts.Edge, "run", "--redis", c.redis.URL(), "--log-level", "error",
		"--listen", addr.String(), "--internal-listen", metrics.String())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, child.stop()) }()
	if err := awaitListener(ctx, addr); err != nil {
		return nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: c.redis.Addr()})
	defer client.Close()
	return Measure(ctx, Server{
		Addr: addr, Process: child.process(), Core: c.core,
		Metrics: "http://" + metrics.String() + "/metrics", Sink: &RedisSink{Client: client},
	}, c.opts.load(protocol))
}

// FloorCommand is the argument with which Compare starts its own program as a floor. The listening address follows it.
const FloorCommand = "floor"

func (c *comparison) measureFloor(ctx context.Context, protocol string) (run *Run, err error) {
	c.progress(protocol, "the floor")
	addr, _, err := freeAddrs()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child, err := launch(c.core, self, FloorCommand, addr.String())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, child.stop()) }()
	if err := awaitListener(ctx, addr); err != nil {
		return nil, err
	}
	load := c.opts.load(protocol)
	load.Churn, load.Stalled = 0, 0 // the floor is the baseline without them
	return Measure(ctx, Server{
		Addr: addr, Process: child.process(), Core: c.core,
		Sink: &FloorSink{Feed: child.stdin, Protocol: load.Protocol},
	}, load)
}

// ServeFloor runs a floor whose feed is the standard input. It returns when the input ends.
func ServeFloor(listen string) error {
	addr, err := netip.ParseAddrPort(listen)
	if err != nil {
		return err
	}
	f, err := NewFloor(addr, int(os.Stdin.Fd()))
	if err != nil {
		return err
	}
	return f.Run()
}

// freeAddrs returns two loopback addresses with currently unused ports.
func freeAddrs() (first, second netip.AddrPort, err error) {
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return first, second, err
		}
		defer listeners[i].Close()
	}
	addrOf := func(ln net.Listener) netip.AddrPort { return ln.Addr().(*net.TCPAddr).AddrPort() }
	return addrOf(listeners[0]), addrOf(listeners[1]), nil
}

// awaitListener waits until a server accepts connections, at most startTimeout.
func awaitListener(ctx context.Context, addr netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr.String())
		if err == nil {
			return conn.Close()
		}
		if sleep(ctx, pollInterval) != nil {
			return fmt.Errorf("the server does not accept connections on %s: %w", addr, err)
		}
	}
}
