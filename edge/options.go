package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/alecthomas/kong"

	"sightglass/edge/feed"
)

// Options are all settings of an edge. The tags hold the defaults and the help: this is their only place. On the
// command line a setting is --listen, in the environment SIGHTGLASS_LISTEN.
type Options struct {
	Listen         string        `default:"127.0.0.1:8080" help:"Where browsers connect. :8080 is every address of the machine."`
	InternalListen string        `default:"" help:"Serve /metrics and /debug/pprof here, for operators only. Empty: not at all."`
	Redis          string        `default:"redis://127.0.0.1:6379" help:"Where snapshots come from: redis://, rediss:// or unix://, with user and password in the URL."`
	MaxPerAddress  int           `default:"10" help:"Most WebSockets from one IPv4 address or IPv6 /64."`
	MaxClients     int           `default:"20000" help:"Most WebSockets in all."`
	PingInterval   time.Duration `default:"20s" help:"A client that gets nothing for so long is pinged, 1s to 5m. Keep it under the idle timeout of the proxies in front."`
	WriteTimeout   time.Duration `default:"30s" help:"A client that takes nothing for so long is dropped, 1s to 5m."`
	DrainDelay     time.Duration `default:"3s" help:"On SIGTERM, how long /readyz says no before the first client is told to go: as long as load balancers need to notice."`
	DrainWindow    time.Duration `default:"5s" help:"Then, over how long clients are told to go, one after another, so that they do not all reconnect at once."`
	Grace          time.Duration `default:"5s" help:"How long a client that was told may take to leave before it is cut off."`
	Notice         string        `default:"" help:"Shown on top of the dashboard."`

	Log *slog.Logger `kong:"-"` // nil: slog.Default
}

// Defaults are the options of an edge that was told nothing.
func Defaults() Options {
	var o Options
	if err := kong.ApplyDefaults(&o); err != nil {
		panic(err) // a tag above is malformed
	}
	return o
}

// Validate names every setting that is wrong and what it may be.
func (o Options) Validate() error {
	_, redisErr := feed.ParseURL(o.Redis)
	return errors.Join(
		checkListen("listen", o.Listen, false),
		checkListen("internal-listen", o.InternalListen, true),
		redisErr,
		positive("max-per-address", o.MaxPerAddress),
		positive("max-clients", o.MaxClients),
		inRange("ping-interval", o.PingInterval, time.Second, 5*time.Minute),
		inRange("write-timeout", o.WriteTimeout, time.Second, 5*time.Minute),
		inRange("drain-delay", o.DrainDelay, 0, 10*time.Minute),
		inRange("drain-window", o.DrainWindow, 0, 10*time.Minute),
		inRange("grace", o.Grace, 0, 10*time.Minute),
	)
}

func checkListen(name, addr string, mayBeEmpty bool) error {
	if addr == "" && mayBeEmpty {
		return nil
	}
	if _, err := net.ResolveTCPAddr("tcp", addr); err != nil || addr == "" {
		return fmt.Errorf("--%s %q: want HOST:PORT, such as 127.0.0.1:8080 or :8080", name, addr)
	}
	return nil
}

func positive(name string, n int) error {
	if n < 1 {
		return fmt.Errorf("--%s %d: want 1 or more", name, n)
	}
	return nil
}

func inRange(name string, d, least, most time.Duration) error {
	if d < least || d > most {
		return fmt.Errorf("--%s %v: want %v to %v", name, d, least, most)
	}
	return nil
}
