package ingester

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/alecthomas/kong"

	"sightglass/ingester/node"
	"sightglass/ingester/publish"
)

// Options are all settings of an ingester. The tags hold the defaults and the help: this is their only place.
// On the command line a setting is --zmq, in the environment SIGHTGLASS_ZMQ.
type Options struct {
	ZMQ             string        `name:"zmq" default:"tcp://127.0.0.1:28332" help:"Where bitcoind publishes rawtx (its -zmqpubrawtx), and sequence if it does."`
	Redis           string        `default:"redis://127.0.0.1:6379" help:"Where snapshots go: redis://, rediss:// or unix://, with user and password in the URL."`
	Interval        time.Duration `default:"500ms" help:"Time between snapshots, 100ms to 10s."`
	Window          time.Duration `default:"3h" help:"How long a transaction stays in the window, 1m to 24h."`
	MaxTransactions int           `default:"500000" help:"Most transactions in the window, about 200 bytes each; beyond it the oldest leave early."`
	Near            float64       `default:"0" help:"The price is known to be near this, within about 10 %. 0: it resumes from the state in Redis, or is found from nothing."`
	InternalListen  string        `default:"" help:"Serve /metrics here, for operators only. Empty: not at all."`

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
		node.CheckEndpoint(o.ZMQ),
		redisErr,
		inRange("interval", o.Interval, 100*time.Millisecond, 10*time.Second),
		inRange("window", o.Window, time.Minute, 24*time.Hour),
		atLeast("max-transactions", o.MaxTransactions, 1000),
		checkNear(o.Near),
	)
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
