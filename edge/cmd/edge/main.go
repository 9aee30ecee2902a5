// Command edge relays the newest price from Redis to browsers' WebSockets, and serves the dashboard.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"sightglass/edge"
	"sightglass/shared/build"
	"sightglass/shared/logs"
)

const description = `Relays the newest price from Redis to browsers' WebSockets (/ws/mempool), and serves the dashboard (/).
Start as many as you like, behind any load balancer: an edge keeps nothing of its own.

Every setting can also come from the environment: --redis is SIGHTGLASS_REDIS, --log-level SIGHTGLASS_LOG_LEVEL.
A flag wins over the environment, the environment over the default.`

type cli struct {
	Run         runCmd         `cmd:"" help:"Serve until a signal stops it; SIGTERM drains."`
	Checkconfig checkconfigCmd `cmd:"" help:"Check the settings that run would use, and say what is wrong with them."`
	Health      healthCmd      `cmd:"" help:"Ask a running edge whether it is ready, and exit with 0 if it is, or 1."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "edge:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k := kong.Parse(&cli{},
		kong.Name("edge"), kong.Description(description),
		kong.DefaultEnvars("SIGHTGLASS"), kong.ShortUsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	return k.Run()
}

type runCmd struct {
	edge.Options
	logOptions
}

func (c *runCmd) Run(ctx context.Context) error {
	c.Log, c.Version = c.logger(os.Stderr), version
	c.Alive = watchdog(c.Log.With(logs.Component, edge.LogSupervisor))
	e, err := edge.New(c.Options)
	if err != nil {
		return err
	}
	tellSupervisor(ctx, c.Log.With(logs.Component, edge.LogSupervisor))
	return e.Run(ctx)
}

type checkconfigCmd struct {
	edge.Options
	logOptions
}

func (c *checkconfigCmd) Run() error {
	if err := c.Validate(); err != nil {
		return err
	}
	fmt.Println("the settings are good")
	return nil
}

// version is stamped by the Makefile: -ldflags "-X main.version=...".
var version = "development"

type versionCmd struct{}

func (versionCmd) Run() error {
	_, err := fmt.Println("edge", build.Of(version))
	return err
}
