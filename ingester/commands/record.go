package commands

import (
	"context"
	"errors"
	"os"

	"sightglass/ingester"
	"sightglass/ingester/bitcoind"
	"sightglass/ingester/record"
	"sightglass/shared/daemon"
)

// Record records a node's messages and responses, for Replay.
type Record struct {
	ZMQ         []string    `name:"zmq" default:"tcp://127.0.0.1:28332" placeholder:"ENDPOINT" help:"Where bitcoind publishes rawtx, sequence and hashblock. If they have separate addresses, list both with a comma."`
	Blocks      bool        `help:"Also record whole blocks (rawblock). Without them a replay assembles blocks from their transactions."`
	RPC         string      `name:"rpc" default:"" placeholder:"URL" help:"bitcoind's RPC, such as http://127.0.0.1:8332. Empty: ZMQ alone."`
	RPCCookie   string      `name:"rpc-cookie" default:"" placeholder:"PATH" help:"The node's .cookie file, in its data directory."`
	RPCUser     string      `name:"rpc-user" default:"" help:"User for the RPC, instead of a cookie."`
	RPCPassword string      `name:"rpc-password" default:"" help:"Password for the RPC; SIGHTGLASS_RPC_PASSWORD keeps it out of the process list."`
	MaxSize     record.Size `default:"1GB" placeholder:"SIZE" help:"Maximum size on disk, such as 500MB, 2GB or 1GiB. At half of it the file is renamed to OUT.1, replacing an older one, and a new file is started."`
	Out         string      `arg:"" name:"out" help:"File to write, which must not exist yet."`
	daemon.LogOptions
}

// Run records until ctx ends.
func (c *Record) Run(ctx context.Context) error {
	o := record.Options{ZMQ: c.ZMQ, Blocks: c.Blocks, MaxSize: c.MaxSize, Out: c.Out, Log: c.Logger(os.Stderr).With(daemon.Component, ingester.LogRecord)}
	switch {
	case c.RPC != "":
		client, err := bitcoind.New(bitcoind.Options{URL: c.RPC, Cookie: c.RPCCookie, User: c.RPCUser, Password: c.RPCPassword})
		if err != nil {
			return err
		}
		defer client.Close()
		o.RPC = client
	case c.RPCCookie != "" || c.RPCUser != "" || c.RPCPassword != "":
		return errors.New("--rpc-cookie or --rpc-user is set without --rpc: want the node's URL, usually http://127.0.0.1:8332")
	}
	return record.Run(ctx, o)
}
