package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/redisurl"
)

// Options are the settings that both daemons have. The tags `set:"..."` of the embedding field complete the help.
type Options struct {
	RedisOptions
	InternalListen string        `default:"" help:"Serve /metrics${internal} and /debug/pprof here, for operators only. Empty: not at all."`
	LogSummary     time.Duration `default:"1m" help:"Interval of a summary in the log, at info: ${summary}; 1s to 24h. 0: never."`

	Log     *slog.Logger         `kong:"-"` // nil: slog.Default
	Version string               `kong:"-"` // of the program, for its metrics
	Alive   func()               `kong:"-"` // called repeatedly while the daemon works, at least every 3 s; may be nil
	Metrics *prometheus.Registry `kong:"-"` // nil: one of the daemon's own, with the metrics of every program
}

// Check returns an error that names every invalid setting and its valid values. It is not named Validate, because kong
// would call that by itself.
func (o Options) Check() error {
	return errors.Join(o.CheckRedis(), CheckInternalListen(o.InternalListen), checkLogSummary(o.LogSummary))
}

// SetDefaults sets the fields that are no settings and are nil.
func (o *Options) SetDefaults() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
		RegisterProcess(o.Metrics, o.Version)
	}
}

// Logger returns the logger of a component.
func (o Options) Logger(component string) *slog.Logger { return o.Log.With(Component, component) }

// RedisOptions are the settings of the connection to Redis. The tag `set:"snapshots=..."` of the embedding field
// completes the help: whether snapshots are published to Redis or read from it.
type RedisOptions struct {
	Redis             string `default:"redis://127.0.0.1:6379" help:"The Redis that snapshots ${snapshots}: redis://USER:PASSWORD@HOST:6379, unix:///PATH, redis+sentinel://HOST:26379?master_name=NAME&addr=HOST2:26379, redis+cluster://HOST:6379?addr=HOST2:6379; with TLS rediss://, rediss+sentinel://, rediss+cluster://. See docs/redis.md."`
	RedisPasswordFile string `name:"redis-password-file" default:"" placeholder:"PATH" help:"File with Redis's password, instead of one in the URL. It is read for each connection, so a new password needs no restart."`
	RedisCA           string `name:"redis-ca" default:"" placeholder:"PATH" help:"File with the CA that signed Redis's certificate, in PEM. Empty: the system's CAs."`
	RedisCert         string `name:"redis-cert" default:"" placeholder:"PATH" help:"File with our client certificate, in PEM; needs --redis-key. Both are read for each connection."`
	RedisKey          string `name:"redis-key" default:"" placeholder:"PATH" help:"File with the key of --redis-cert, in PEM."`
}

// OpenRedis opens a client. name is the name of its connections in CLIENT LIST; see redisurl.Open.
func (o RedisOptions) OpenRedis(name string) (redis.UniversalClient, error) {
	return redisurl.Open(o.Redis, o.options(name))
}

// CheckRedis reads the files that the settings name and connects to nothing; see redisurl.Check.
func (o RedisOptions) CheckRedis() error { return redisurl.Check(o.Redis, o.options("")) }

func (o RedisOptions) options(name string) redisurl.Options {
	return redisurl.Options{Name: name, PasswordFile: o.RedisPasswordFile, CA: o.RedisCA, Cert: o.RedisCert, Key: o.RedisKey}
}

// The functions below return an error that names the setting and its valid values.

// CheckInternalListen checks --internal-listen.
func CheckInternalListen(addr string) error {
	if addr == "" {
		return nil
	}
	return CheckListen("internal-listen", addr)
}

// CheckListen checks an address to listen on.
func CheckListen(name, addr string) error {
	if _, err := net.ResolveTCPAddr("tcp", addr); err != nil || addr == "" {
		return fmt.Errorf("--%s %q: want HOST:PORT, such as 127.0.0.1:8080 or :8080", name, addr)
	}
	return nil
}

// checkLogSummary checks --log-summary: 1 s to 24 h, or 0 for never.
func checkLogSummary(interval time.Duration) error {
	if interval == 0 {
		return nil
	}
	return CheckRange("log-summary", interval, time.Second, 24*time.Hour)
}

// CheckRange checks that least <= v <= most.
func CheckRange[T cmp.Ordered](name string, v, least, most T) error {
	if v < least || v > most {
		return fmt.Errorf("--%s %v: want %v to %v", name, v, least, most)
	}
	return nil
}

// CheckAtLeast checks that n >= least.
func CheckAtLeast(name string, n, least int) error {
	if n < least {
		return fmt.Errorf("--%s %d: want %d or more", name, n, least)
	}
	return nil
}
