package ingester

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/publish"
	"sightglass/ingester/zmqsub"
)

// Options are all settings of an ingester. The tags hold the defaults and the help: this is their only place.
// On the command line a setting is --zmq, in the environment SIGHTGLASS_ZMQ.
type Options struct {
	ZMQ             []string      `name:"zmq" default:"tcp://127.0.0.1:28332" placeholder:"ENDPOINT" help:"Where bitcoind publishes rawtx and sequence (its -zmqpubrawtx, -zmqpubsequence). Two, with a comma, if they have addresses of their own."`
	RPC             string        `name:"rpc" default:"" placeholder:"URL" help:"bitcoind's RPC, such as http://127.0.0.1:8332. Empty: ZMQ alone, with a slow start and gaps left open."`
	RPCCookie       string        `name:"rpc-cookie" default:"" placeholder:"PATH" help:"The node's .cookie file, in its data directory. It is read anew for every call, as a restart of the node changes it."`
	RPCUser         string        `name:"rpc-user" default:"" help:"User for the RPC, instead of a cookie."`
	RPCPassword     string        `name:"rpc-password" default:"" help:"Password for the RPC; SIGHTGLASS_RPC_PASSWORD keeps it out of the process list."`
	Redis           string        `default:"redis://127.0.0.1:6379" help:"Where snapshots go: redis://, rediss:// or unix://, with user and password in the URL."`
	Interval        time.Duration `default:"500ms" help:"Time between snapshots, 100ms to 10s."`
	Window          time.Duration `default:"3h" help:"How long a transaction stays in the window, 1m to 24h."`
	MaxTransactions int           `default:"500000" help:"Most transactions in the window, about 200 bytes each; beyond it the oldest leave early."`
	Near            float64       `default:"0" help:"The price is known to be near this, within about 10 %. 0: it resumes from the state in Redis, or is found from nothing."`
	Quiet           time.Duration `default:"1m" help:"How long the node may say nothing before it is asked whether that is right, and the connection made anew, 1s to 1h."`
	InternalListen  string        `default:"" help:"Serve /metrics, /mempool, /livez and /readyz here, for operators only. Empty: not at all."`

	Log *slog.Logger `kong:"-"` // nil: slog.Default
}

// Defaults are the options of an ingester that was told nothing.
func Defaults() Options {
	var o Options
	if err := kong.ApplyDefaults(&o); err != nil {
		panic(err) // a tag above is malformed
	}
	return o
}

// Validate names every setting that is wrong and what it may be.
func (o Options) Validate() error {
	_, redisErr := publish.ParseURL(o.Redis)
	return errors.Join(
		zmqsub.CheckEndpoints(o.ZMQ),
		o.checkRPC(),
		redisErr,
		inRange("interval", o.Interval, 100*time.Millisecond, 10*time.Second),
		inRange("quiet", o.Quiet, time.Second, time.Hour),
		inRange("window", o.Window, time.Minute, 24*time.Hour),
		atLeast("max-transactions", o.MaxTransactions, 1000),
		checkNear(o.Near),
	)
}

func (o Options) rpc() bitcoind.Options {
	return bitcoind.Options{URL: o.RPC, Cookie: o.RPCCookie, User: o.RPCUser, Password: o.RPCPassword}
}

func (o Options) checkRPC() error {
	switch {
	case o.RPC != "":
		return o.rpc().Validate()
	case o.RPCCookie != "" || o.RPCUser != "" || o.RPCPassword != "":
		return errors.New("--rpc-cookie or --rpc-user without --rpc: where is the node? --rpc http://127.0.0.1:8332 is usual")
	}
	return nil
}

// openRPC gives nil for a node that is not to be asked.
func (o Options) openRPC(metrics prometheus.Registerer) (*bitcoind.Client, error) {
	if o.RPC == "" {
		return nil, nil
	}
	r := o.rpc()
	r.Registerer = metrics
	return bitcoind.New(r)
}

func inRange(name string, d, least, most time.Duration) error {
	if d < least || d > most {
		return fmt.Errorf("--%s %v: want %v to %v", name, d, least, most)
	}
	return nil
}

func atLeast(name string, n, least int) error {
	if n < least {
		return fmt.Errorf("--%s %d: want %d or more", name, n, least)
	}
	return nil
}

func checkNear(usd float64) error {
	if !(usd == 0 || usd >= 1 && usd <= 1e7) {
		return fmt.Errorf("--near %v: want dollars per bitcoin from 1 to 10000000, or 0 for no hint", usd)
	}
	return nil
}
