package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"sightglass/shared/daemon"
)

// Options are all settings of an edge. The tags hold the defaults and the help: this is their only place. On the
// command line a setting is --listen, in the environment SIGHTGLASS_LISTEN.
type Options struct {
	Listen              string `default:"127.0.0.1:8080" help:"Where browsers connect. :8080 is every address of the machine."`
	InternalListen      string `default:"" help:"Serve /metrics and /debug/pprof here, for operators only. Empty: not at all."`
	daemon.RedisOptions `set:"snapshots=come from"`
	BasePath            string   `default:"" placeholder:"PATH" help:"Serve everything under this path too, such as /price, for a proxy that keeps the path when it passes requests on. A proxy that strips it needs nothing here."`
	CORSOrigins         []string `name:"cors-origins" default:"*" help:"Origins whose pages may read /api/ and /static/client.js from a browser, such as https://example.com or an application's tauri://localhost; null is the word for pages without one. *: any. Empty: none but our own."`
	MaxPerAddress       int      `default:"10" help:"Most WebSockets from one IPv4 address or IPv6 /64."`
	MaxClients          int      `default:"20000" help:"Most WebSockets in all."`

	LimitScope          string        `default:"edge" enum:"edge,cluster" help:"What --max-per-address counts on: this edge, or all edges (cluster), through Redis."`
	LimitLease          time.Duration `default:"10s" help:"With --limit-scope cluster: how long the clients of an edge that died count on, 3s to 5m."`
	HandshakesPerMinute int           `default:"0" help:"Most WebSocket handshakes a minute from one address; as many may come at once. 0: 60 for each of --max-per-address."`
	MaxConnsPerAddress  int           `default:"0" aliases:"max-sockets-per-address" help:"Most TCP connections from one address, streams or not. 0: ten for each of --max-per-address."`
	MaxHeaderBytes      int           `default:"4096" help:"Most bytes of a request's headers, 1024 to 65536. Each client holds a buffer of this size."`
	HeaderTimeout       time.Duration `default:"10s" help:"How long a request may take to come, 100ms to 1m."`

	AllowedOrigins  []string `help:"Origins of web pages that may connect besides this host's own, such as https://example.org or an application's tauri://localhost; null is the word for pages without one. *: any."`
	TrustedProxies  []string `help:"Addresses and CIDRs of the proxies in front, whose word about a client's address is believed."`
	ForwardedHeader string   `default:"any" enum:"any,x-forwarded-for,forwarded" help:"The header in which the proxies say it: x-forwarded-for, forwarded, or any: X-Forwarded-For if it is there, else Forwarded."`
	ProxyProtocol   bool     `help:"The proxies say it by the PROXY protocol, v1 or v2, at the start of each connection."`

	PingInterval time.Duration `default:"20s" help:"A client that gets nothing for so long is pinged, 1s to 5m. Keep it under the idle timeout of the proxies in front."`
	WriteTimeout time.Duration `default:"30s" help:"A client that takes nothing for so long is dropped, 1s to 5m."`
	DrainDelay   time.Duration `default:"3s" help:"On SIGTERM, how long /readyz says no before the first client is told to go: as long as load balancers need to notice."`
	DrainWindow  time.Duration `default:"5s" help:"Then, over how long clients are told to go, one after another, so that they do not all reconnect at once."`
	Grace        time.Duration `default:"5s" help:"How long a client that was told may take to leave before it is cut off."`
	Notice       string        `default:"" help:"Shown on top of the dashboard."`

	LogSummary time.Duration `default:"1m" help:"How often a line of the log, at info, says how many clients came, left and were refused, if any did; 1s to 24h. 0: never."`

	Log     *slog.Logger `kong:"-"` // nil: slog.Default
	Version string       `kong:"-"` // of the program, for its metrics
	Alive   func()       `kong:"-"` // called every 3 s or sooner while the edge looks after its feed; may be nil
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
	_, proxiesErr := o.proxies()
	_, originsErr := o.origins()
	_, corsErr := o.corsOrigins()
	return errors.Join(
		daemon.CheckListen("listen", o.Listen),
		daemon.CheckInternalListen(o.InternalListen),
		checkBasePath(o.BasePath),
		o.CheckRedis(),
		daemon.CheckAtLeast("max-per-address", o.MaxPerAddress, 1),
		daemon.CheckAtLeast("max-clients", o.MaxClients, 1),
		oneOf("limit-scope", o.LimitScope, scopeEdge, scopeCluster),
		daemon.CheckRange("limit-lease", o.LimitLease, 3*time.Second, 5*time.Minute),
		daemon.CheckAtLeast("handshakes-per-minute", o.HandshakesPerMinute, 0),
		o.checkSockets(),
		daemon.CheckRange("max-header-bytes", o.MaxHeaderBytes, 1<<10, 1<<16),
		daemon.CheckRange("header-timeout", o.HeaderTimeout, 100*time.Millisecond, time.Minute),
		originsErr, proxiesErr, o.checkProxies(),
		oneOf("forwarded-header", o.ForwardedHeader, headerAny, headerForwardedFor, headerForwarded),
		daemon.CheckRange("ping-interval", o.PingInterval, time.Second, 5*time.Minute),
		daemon.CheckRange("write-timeout", o.WriteTimeout, time.Second, 5*time.Minute),
		daemon.CheckRange("drain-delay", o.DrainDelay, 0, 10*time.Minute),
		daemon.CheckRange("drain-window", o.DrainWindow, 0, 10*time.Minute),
		daemon.CheckRange("grace", o.Grace, 0, 10*time.Minute),
		corsErr,
		daemon.CheckLogSummary(o.LogSummary),
	)
}

func oneOf(name, value string, values ...string) error {
	if !slices.Contains(values, value) {
		return fmt.Errorf("--%s %q: want %s", name, value, strings.Join(values, " or "))
	}
	return nil
}
