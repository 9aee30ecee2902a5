package standalone

import (
	"context"

	"sightglass/infra/localredis"
	"sightglass/ingester"
	"sightglass/ingester/commands"
)

// Backfill writes to the history of a running program, or to another Redis. Program.Defaults must have Defaults.
type Backfill struct {
	commands.Backfill
	DataDir string `default:"" placeholder:"PATH" help:"Directory of the running sightglass. Empty: the same as for run. Not used with --redis."`
}

// Run computes and writes until all is done or ctx ends. Without credentials it searches for a node on this machine.
func (c *Backfill) Run(ctx context.Context) error {
	node := Options{NodeOptions: ingester.NodeOptions{RPC: c.RPC, RPCCookie: c.RPCCookie, RPCUser: c.RPCUser, RPCPassword: c.RPCPassword}}
	if _, err := node.findNode(); err != nil {
		return err
	}
	c.RPC, c.RPCCookie = node.RPC, node.RPCCookie
	if c.Redis == "" {
		dir, err := dataDir(c.DataDir)
		if err != nil {
			return err
		}
		if c.Redis, err = localredis.Running(ctx, dir); err != nil {
			return err
		}
	}
	return c.Backfill.Run(ctx)
}
