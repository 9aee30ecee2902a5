// Package fanout measures how one snapshot reaches many WebSocket clients, and what that costs: an edge's figures, and
// beside them, in the same run, those of a bare loop that does the least a server can do (see Floor). What counts is
// the ratio: absolute figures move with the machine. Linux only, and loopback only.
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

// Options are the settings of a comparison. The tags hold the defaults and the help.
type Options struct {
	Edge     string        `default:"bin/edge" help:"The edge's program. It takes its settings from the environment: SIGHTGLASS_MAX_CLIENTS=..." type:"existingfile"`
	Clients  int           `default:"2000" env:"CLIENTS" help:"WebSockets that stay, 1 to 19000."`
	Duration time.Duration `default:"10s" env:"DURATION" help:"Time that is measured, for each server and protocol."`
	Protocol []string      `default:"plain,deflate,delta" env:"PROTOCOL" help:"Some of plain, deflate, delta, delta-deflate."`
	Rate     float64       `default:"2" env:"RATE" help:"Snapshots a second, 0.1 to 100."`
	Points   int           `default:"8" env:"POINTS" help:"New points in a snapshot, on average, 0 to 500. Mainnet has about 8."`
	Churn    int           `default:"0" env:"CHURN" help:"Clients a minute that come and go beside the others; also shows what the edge holds meanwhile."`
	Stalled  int           `default:"0" env:"STALLED" help:"Of the clients, so many stop reading, and the others are measured once more."`
	Grow     int           `default:"0" env:"GROW" help:"After each stretch so many more clients, until p99 is over 100 ms: what a core can carry."`
	Rounds   int           `default:"1" env:"ROUNDS" help:"Measure so often and keep the best, 1 to 20: for a machine that has other work."`
	Floor    bool          `default:"true" negatable:"" env:"FLOOR" help:"Measure the floor, too."`

	Progress func(fmt.Stringer) `kong:"-"` // is told of what is done, and of each look during churn; nil: nobody
}

// mostClients is what fits under the usual hard limit of 20,000 open files, with a server's other ones.
const mostClients = 19_000

// Validate names every setting that is wrong and what it may be.
func (o Options) Validate() error {
	var errs []error
	check := func(name string, value, least, most float64) {
		if !(value >= least && value <= most) {
			errs = append(errs, fmt.Errorf("--%s %v: want %v to %v", name, value, least, most))
		}
	}
	check("clients", float64(o.Clients), 1, mostClients)
	check("rate", o.Rate, 0.1, 100)
	check("points", float64(o.Points), 0, 500)
	check("churn", float64(o.Churn), 0, 10_000)
	check("grow", float64(o.Grow), 0, mostClients)
	check("rounds", float64(o.Rounds), 1, 20)
	check("stalled", float64(o.Stalled), 0, float64(max(o.Clients-1, 0)))
	if o.Duration <= 0 {
		errs = append(errs, fmt.Errorf("--duration %v: want more than 0", o.Duration))
	}
	for _, name := range o.Protocol {
		if _, ok := Protocols[name]; !ok {
			errs = append(errs, fmt.Errorf("--protocol %s: want some of plain, deflate, delta, delta-deflate", name))
		}
	}
	return errors.Join(errs...)
}

func (o Options) load(protocol string) Load {
	return Load{
		Clients: o.Clients, Grow: o.Grow, Stalled: o.Stalled, Churn: o.Churn, Stay: Stay, Rate: o.Rate, Points: o.Points,
		Duration: o.Duration, Protocol: Protocols[protocol], Progress: o.Progress,
	}
}

// A comparison is what its runs share.
type comparison struct {
	opts  Options
	core  int // the servers'
	redis *redisproc.Server
}

// Compare measures the floor and the edge in each protocol, in turn.
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
	report = newReport(o, core, others.IsSet(core))
	for _, protocol := range o.Protocol {
		measured, err := c.compare(ctx, protocol)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", protocol, err)
		}
		report.Protocols = append(report.Protocols, measured)
	}
	return report, nil
}

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
		result.Edge = better(result.Edge, edge)
		if !c.opts.Floor {
			continue
		}
		floor, err := c.measureFloor(ctx, protocol)
		if err != nil {
			return result, fmt.Errorf("floor: %w", err)
		}
		result.Floor = better(result.Floor, floor)
	}
	return result, nil
}

func (c *comparison) say(protocol, what string) {
	if c.opts.Progress != nil {
		c.opts.Progress(step("measuring " + protocol + ": " + what))
	}
}

// A step is a line of progress.
type step string

func (s step) String() string { return string(s) }

func (c *comparison) measureEdge(ctx context.Context, protocol string) (run *Run, err error) {
	c.say(protocol, "the edge")
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

// FloorCommand is this program's argument that makes it a floor; the address to listen on follows.
const FloorCommand = "floor"

func (c *comparison) measureFloor(ctx context.Context, protocol string) (run *Run, err error) {
	c.say(protocol, "the floor")
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
	load.Churn, load.Stalled = 0, 0 // the edge's figures are compared with the floor at its best
	return Measure(ctx, Server{
		Addr: addr, Process: child.process(), Core: c.core,
		Sink: &FloorSink{Feed: child.feed, Protocol: load.Protocol},
	}, load)
}

// ServeFloor is what a process does that was started with FloorCommand.
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

// freeAddrs gives two addresses that nobody listens on right now.
func freeAddrs() (one, two netip.AddrPort, err error) {
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return one, two, err
		}
		defer listeners[i].Close()
	}
	addrOf := func(ln net.Listener) netip.AddrPort { return ln.Addr().(*net.TCPAddr).AddrPort() }
	return addrOf(listeners[0]), addrOf(listeners[1]), nil
}

// awaitListener waits until a server has started.
func awaitListener(ctx context.Context, addr netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr.String())
		if err == nil {
			return conn.Close()
		}
		if pause(ctx, patience) != nil {
			return fmt.Errorf("the server does not listen on %s: %w", addr, err)
		}
	}
}
