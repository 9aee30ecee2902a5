package ingester

import (
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/peers"
	"sightglass/ingester/zmqsub"
	"sightglass/shared/daemon"
)

// Options are all settings of an ingester. The tags hold the defaults and the help; they are defined nowhere else. On
// the command line a setting is --zmq, in the environment SIGHTGLASS_ZMQ.
type Options struct {
	NodeOptions `kong:"set='no_zmq=',set='no_rpc=ZMQ alone; the window starts empty and gaps stay open'"`
	peers.Settings
	daemon.Options `kong:"set='snapshots=go to',set='internal=, /mempool, /livez, /readyz',set='summary=the price, and what was received'"`
}

// NodeOptions are the settings that only an ingester has: its node, and how the node's transactions become a price.
type NodeOptions struct {
	ZMQ             []string      `name:"zmq" default:"tcp://127.0.0.1:28332" placeholder:"ENDPOINT" help:"Where bitcoind publishes rawtx and sequence (its -zmqpubrawtx, -zmqpubsequence). If they have separate addresses, list both with a comma.${no_zmq}"`
	RPC             string        `name:"rpc" default:"" placeholder:"URL" help:"bitcoind's RPC, such as http://127.0.0.1:8332. Empty: ${no_rpc}."`
	RPCCookie       string        `name:"rpc-cookie" default:"" placeholder:"PATH" help:"The node's .cookie file, in its data directory. It is read for every call, because a restart of the node changes it."`
	RPCUser         string        `name:"rpc-user" default:"" help:"User for the RPC, instead of a cookie."`
	RPCPassword     string        `name:"rpc-password" default:"" help:"Password for the RPC; SIGHTGLASS_RPC_PASSWORD keeps it out of the process list."`
	MaxTransactions int           `default:"500000" help:"Maximum number of transactions in the window, about 200 bytes each. Above it the oldest are removed early."`
	PriceHint       float64       `default:"0" aliases:"near" placeholder:"USD" help:"Start from this price, which is right within about 10 %. 0: resume from the state in Redis, or find the price without a hint."`
	Backfill        time.Duration `default:"48h" placeholder:"DURATION" help:"How far back the history shall go, from the node's blocks: 17520h are two years. It is filled by one worker that rests as long as it works, and then kept complete. 0: only this program's own prices. Needs --rpc."`
	ZMQIdleTimeout  time.Duration `name:"zmq-idle-timeout" aliases:"quiet" default:"1m" help:"Without a ZMQ message for this long, ask RPC whether the node is idle, and replace the ZMQ socket if it is not; 1s to 1h."`
}

// Defaults returns the options of an ingester without settings.
func Defaults() Options {
	var o Options
	if err := kong.ApplyDefaults(&o); err != nil {
		panic(err) // a tag above is malformed
	}
	return o
}

// Validate returns an error that names every invalid setting and its valid values.
func (o Options) Validate() error {
	return errors.Join(
		o.checkSource(),
		daemon.CheckRange("zmq-idle-timeout", o.ZMQIdleTimeout, time.Second, time.Hour),
		daemon.CheckAtLeast("max-transactions", o.MaxTransactions, 1000),
		daemon.CheckRange("backfill", o.Backfill, 0, maxBackfill),
		CheckPriceHint(o.PriceHint),
		o.Check(),
	)
}

// maxBackfill is longer than the chain is.
const maxBackfill = 50 * 366 * 24 * time.Hour

// redisName is the name of our connections in CLIENT LIST.
const redisName = "sightglass-ingester"

func (o NodeOptions) rpc() bitcoind.Options {
	return bitcoind.Options{URL: o.RPC, Cookie: o.RPCCookie, User: o.RPCUser, Password: o.RPCPassword}
}

func (o NodeOptions) checkRPC() error {
	switch {
	case o.RPC != "":
		return o.rpc().Validate()
	case o.RPCCookie != "" || o.RPCUser != "" || o.RPCPassword != "":
		return errors.New("--rpc-cookie or --rpc-user is set without --rpc: want the node's URL, usually http://127.0.0.1:8332")
	}
	return nil
}

// checkSource checks the settings of the one source of transactions. With peers, a node's endpoint for ZMQ does not matter,
// because it has a default.
func (o Options) checkSource() error {
	switch {
	case !o.Peers.On:
		return errors.Join(zmqsub.CheckEndpoints(o.ZMQ), o.checkRPC())
	case o.RPC != "":
		return errors.New("--peers is set, and --rpc too: want a node of your own, or peers; the node is better")
	}
	return o.CheckPeers()
}

// openRPC returns nil without --rpc.
func (o NodeOptions) openRPC(metrics prometheus.Registerer) (*bitcoind.Client, error) {
	if o.RPC == "" {
		return nil, nil
	}
	r := o.rpc()
	r.Registerer = metrics
	return bitcoind.New(r)
}

// CheckPriceHint returns an error unless a price in USD can be that of --price-hint; 0 is none.
func CheckPriceHint(usd float64) error {
	if !(usd == 0 || usd >= 1 && usd <= 1e7) {
		return fmt.Errorf("--price-hint %v: want dollars per bitcoin from 1 to 10000000, or 0 for no hint", usd)
	}
	return nil
}
