package standalone

import (
	"context"

	"sightglass/infra/localredis"
	"sightglass/ingester/commands"
	"sightglass/shared/daemon"
)

// Export prints the history of a running program, or of another Redis. Program.Defaults must have Defaults.
type Export struct {
	commands.Export
	DataDir string `default:"" placeholder:"PATH" help:"Directory of the running sightglass. Empty: the same as for run. Not used with --redis."`
}

// Run prints to standard output.
func (c *Export) Run(ctx context.Context, p daemon.Program) error {
	if c.Redis == "" {
		dir, err := dataDir(c.DataDir)
		if err != nil {
			return err
		}
		if c.Redis, err = localredis.Running(ctx, dir); err != nil {
			return err
		}
	}
	return c.Export.Run(ctx, p)
}
