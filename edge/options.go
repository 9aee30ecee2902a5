package edge

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"sightglass/shared/redisurl"
)

// Options are all settings of an edge. The tags hold the defaults and the help: this is their only place. On the
// command line a setting is --listen, in the environment SIGHTGLASS_LISTEN.
type Options struct {
	Listen            string   `default:"127.0.0.1:8080" help:"Address for browsers. :8080 listens on all addresses of the machine."`
	InternalListen    string   `default:"" help:"Serve /metrics and /debug/pprof here, for operators only. Empty: not at all."`
	Redis             string   `default:"redis://127.0.0.1:6379" help:"Where snapshots come from: redis://USER:PASSWORD@HOST:6379, unix:///PATH, redis+sentinel://HOST:26379?master_name=NAME&addr=HOST2:26379, redis+cluster://HOST:6379?addr=HOST2:6379; with TLS rediss://, rediss+sentinel://, rediss+cluster://. See docs/redis.md."`
	RedisPasswordFile string   `name:"redis-password-file" default:"" placeholder:"PATH" help:"A file with Redis's password, instead of one in the URL. It is read anew for each connection, so a new password needs no restart."`
	RedisCA           string   `name:"redis-ca" default:"" placeholder:"PATH" help:"The CA that signed Redis's certificate, in PEM, if it is not one that this system knows."`
	RedisCert         string   `name:"redis-cert" default:"" placeholder:"PATH" help:"Our certificate for Redis, in PEM, with --redis-key. Both are read anew for each connection."`
	RedisKey          string   `name:"redis-key" default:"" placeholder:"PATH" help:"The key of --redis-cert, in PEM."`
	BasePath          string   `default:"" placeholder:"PATH" help:"Also serve everything under this path, such as /price, for proxies that keep the path of requests. Proxies that strip the path need no setting."`
	CORSOrigins       []string `name:"cors-origins" default:"*" help:"Origins whose pages may read /api/ and /static/client.js, such as https://example.com or an application's tauri://localhost; null stands for pages without an origin. *: any. Empty: only the edge's own."`
	MaxPerAddress     int      `default:"10" help:"Maximum number of streams (WebSocket and SSE) of one IPv4 address or IPv6 /64."`
	MaxClients        int      `default:"20000" help:"Maximum number of streams in total."`

	LimitScope          string        `default:"edge" enum:"edge,cluster" help:"Count --max-per-address on this edge only (edge), or on all edges that share the Redis (cluster)."`
	LimitLease          time.Duration `default:"10s" help:"With --limit-scope cluster: how long the clients of an edge that died still count, 3s to 5m."`
	HandshakesPerMinute int           `default:"0" help:"Maximum rate of requests for streams from one address; a minute's allowance may be used at once. 0: 60 for each of --max-per-address."`
	MaxConnsPerAddress  int           `default:"0" aliases:"max-sockets-per-address" env:"SIGHTGLASS_MAX_CONNS_PER_ADDRESS,SIGHTGLASS_MAX_SOCKETS_PER_ADDRESS" help:"Maximum number of TCP connections of one address, streams included. 0: 10 for each of --max-per-address."`
	MaxHeaderBytes      int           `default:"4096" help:"Maximum size of a request's headers in bytes, 1024 to 65536. Each connection has a buffer of this size."`
	HeaderTimeout       time.Duration `default:"10s" help:"Maximum time to receive a request, 100ms to 1m."`

	AllowedOrigins  []string `help:"Origins of web pages that may open a stream besides this host's own, such as https://example.org or an application's tauri://localhost; null stands for pages without an origin. *: any."`
	TrustedProxies  []string `help:"Addresses and CIDRs of the proxies in front. The edge takes clients' addresses from their headers."`
	ForwardedHeader string   `default:"any" enum:"any,x-forwarded-for,forwarded" help:"The header in which the proxies name the client: x-forwarded-for, forwarded, or any (X-Forwarded-For if present, else Forwarded)."`
	ProxyProtocol   bool     `help:"The proxies name the client by the PROXY protocol, v1 or v2, at the start of each connection."`

	PingInterval time.Duration `default:"20s" help:"Ping clients that were sent nothing for this long, 1s to 5m. It must be less than the idle timeout of the proxies in front."`
	WriteTimeout time.Duration `default:"30s" help:"Disconnect clients that accept no data for this long, 1s to 5m."`
	DrainDelay   time.Duration `default:"3s" help:"On SIGTERM, how long /readyz responds with 503 before the first client is disconnected: the time that load balancers need to notice."`
	DrainWindow  time.Duration `default:"5s" help:"Then, the time over which clients are disconnected one after another, so that they do not reconnect all at once."`
	Grace        time.Duration `default:"5s" help:"How long a client may take to answer the close frame before its connection is cut."`
	Notice       string        `default:"" help:"Text shown at the top of the dashboard."`

	LogSummary time.Duration `default:"1m" help:"How often a line of the log, at info, says how many clients came, left and were refused, if any did; 1s to 24h. 0: never."`

	Log     *slog.Logger `kong:"-"` // nil: slog.Default
	Version string       `kong:"-"` // of the program, for its metrics
	Alive   func()       `kong:"-"` // called every 3 s or sooner unless the feed hangs; may be nil
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
		checkListen("listen", o.Listen, false),
		checkListen("internal-listen", o.InternalListen, true),
		checkBasePath(o.BasePath),
		redisurl.Check(o.Redis, o.redis()),
		positive("max-per-address", o.MaxPerAddress),
		positive("max-clients", o.MaxClients),
		oneOf("limit-scope", o.LimitScope, scopeEdge, scopeCluster),
		inRange("limit-lease", o.LimitLease, 3*time.Second, 5*time.Minute),
		notNegative("handshakes-per-minute", o.HandshakesPerMinute),
		o.checkSockets(),
		inRange("max-header-bytes", o.MaxHeaderBytes, 1<<10, 1<<16),
		inRange("header-timeout", o.HeaderTimeout, 100*time.Millisecond, time.Minute),
		originsErr, proxiesErr, o.checkProxies(),
		oneOf("forwarded-header", o.ForwardedHeader, headerAny, headerForwardedFor, headerForwarded),
		inRange("ping-interval", o.PingInterval, time.Second, 5*time.Minute),
		inRange("write-timeout", o.WriteTimeout, time.Second, 5*time.Minute),
		inRange("drain-delay", o.DrainDelay, 0, 10*time.Minute),
		inRange("drain-window", o.DrainWindow, 0, 10*time.Minute),
		inRange("grace", o.Grace, 0, 10*time.Minute),
		corsErr,
		checkSummary(o.LogSummary),
	)
}

func (o Options) redis() redisurl.Options {
	return redisurl.Options{
		Name: "sightglass-edge", PasswordFile: o.RedisPasswordFile, CA: o.RedisCA, Cert: o.RedisCert, Key: o.RedisKey,
	}
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

func checkSummary(every time.Duration) error {
	if every == 0 {
		return nil
	}
	return inRange("log-summary", every, time.Second, 24*time.Hour)
}

func positive(name string, n int) error {
	if n < 1 {
		return fmt.Errorf("--%s %d: want 1 or more", name, n)
	}
	return nil
}

func notNegative(name string, n int) error {
	if n < 0 {
		return fmt.Errorf("--%s %d: want 0 or more", name, n)
	}
	return nil
}

func inRange[T cmp.Ordered](name string, v, least, most T) error {
	if v < least || v > most {
		return fmt.Errorf("--%s %v: want %v to %v", name, v, least, most)
	}
	return nil
}

func oneOf(name, value string, values ...string) error {
	if !slices.Contains(values, value) {
		return fmt.Errorf("--%s %q: want %s", name, value, strings.Join(values, " or "))
	}
	return nil
}
