package edge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"sightglass/shared/daemon"
)

// Options are all settings of an edge. The tags hold the defaults and the help: they are defined nowhere else. On the
// command line a setting is --listen, in the environment SIGHTGLASS_LISTEN.
type Options struct {
	ServerOptions
	daemon.Options `kong:"set='snapshots=come from',set='internal=',set='summary=how many clients were accepted, closed and rejected, if any'"`
}

// ServerOptions are the settings that only an edge has: how it serves clients.
type ServerOptions struct {
	Listen        string   `default:"127.0.0.1:8080" help:"Address for browsers. :8080 listens on all addresses of the machine."`
	BasePath      string   `default:"" placeholder:"PATH" help:"Also serve everything under this path, such as /price, for proxies that keep the path of requests. Proxies that strip the path need no setting."`
	PublicURL     string   `default:"" placeholder:"URL" help:"The dashboard's URL for visitors, such as https://example.org/price. Previews of links need it, as they show no picture from a relative URL."`
	CORSOrigins   []string `name:"cors-origins" default:"*" help:"Origins whose pages may read /api/ and /static/client.js, such as https://example.com or an application's tauri://localhost; null stands for pages without an origin. *: any. Empty: only the edge's own."`
	MaxPerAddress int      `default:"10" help:"Maximum number of streams (WebSocket and SSE) of one IPv4 address or IPv6 /64."`
	MaxClients    int      `default:"20000" help:"Maximum number of streams in total."`

	LimitScope          string        `default:"edge" enum:"edge,cluster" help:"Count --max-per-address on this edge only (edge), or on all edges that share the Redis (cluster)."`
	LimitLease          time.Duration `default:"10s" help:"With --limit-scope cluster: how long the clients of an edge that died still count, 3s to 5m."`
	HandshakesPerMinute int           `default:"0" help:"Maximum rate of requests for streams from one address; a minute's allowance may be used at once. 0: 60 for each of --max-per-address."`
	MaxConnsPerAddress  int           `default:"0" aliases:"max-sockets-per-address" help:"Maximum number of TCP connections of one address, streams included. 0: 10 for each of --max-per-address."`
	MaxHeaderBytes      int           `default:"4096" help:"Maximum size of a request's headers in bytes, 1024 to 65536. Each connection has a buffer of this size."`
	HeaderTimeout       time.Duration `default:"10s" help:"Maximum time to receive a request, 100ms to 1m."`

	AllowedOrigins  []string `help:"Origins of web pages that may open a stream besides this host's own, such as https://example.org or an application's tauri://localhost; null stands for pages without an origin. *: any."`
	TrustedProxies  []string `help:"Addresses and CIDRs of the proxies in front. The edge reads clients' addresses from their headers."`
	ForwardedHeader string   `default:"any" enum:"any,x-forwarded-for,forwarded" help:"The header in which the proxies name the client: x-forwarded-for, forwarded, or any (X-Forwarded-For if present, else Forwarded)."`
	ProxyProtocol   bool     `help:"The proxies name the client by the PROXY protocol, v1 or v2, at the start of each connection."`

	PingInterval time.Duration `default:"20s" help:"Ping clients that were sent nothing for this long, 1s to 5m. It must be less than the idle timeout of the proxies in front."`
	WriteTimeout time.Duration `default:"30s" help:"Disconnect clients that accept no data for this long, 1s to 5m."`
	DrainDelay   time.Duration `default:"3s" help:"On SIGTERM, how long /readyz responds with 503 before the first client is disconnected: the time that load balancers need to notice."`
	DrainWindow  time.Duration `default:"5s" help:"Then, the time over which clients are disconnected one after another, so that they do not reconnect all at once."`
	Grace        time.Duration `default:"5s" help:"How long a client has to answer the close frame before its connection is closed."`
	Notice       string        `default:"" help:"Text shown at the top of the dashboard."`
	Replay       bool          `help:"Say on the pages that the transactions are recorded ones, not today's."`
}

// Defaults returns the options of an edge without settings.
func Defaults() Options {
	var o Options
	if err := kong.ApplyDefaults(&o); err != nil {
		panic(err) // a tag above is malformed
	}
	return o
}

// Validate returns an error that names every invalid setting and its valid values.
func (o Options) Validate() error {
	_, proxiesErr := o.proxies()
	_, originsErr := o.origins()
	_, corsErr := o.corsOrigins()
	return errors.Join(
		daemon.CheckListen("listen", o.Listen),
		checkBasePath(o.BasePath),
		checkPublicURL(o.PublicURL),
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
		o.Check(),
	)
}

func oneOf(name, value string, values ...string) error {
	if !slices.Contains(values, value) {
		return fmt.Errorf("--%s %q: want %s", name, value, strings.Join(values, " or "))
	}
	return nil
}
