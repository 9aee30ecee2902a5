// Command sightglass runs all of Sightglass in one process, beside a node.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"sightglass/infra/demo"
	"sightglass/infra/standalone"
	"sightglass/ingester"
	"sightglass/ingester/commands"
	"sightglass/shared/daemon"
)

const description = `Computes bitcoin's dollar price from a node's own transactions, without any exchange, and serves it to browsers.
Without settings it searches for bitcoind on this machine, and keeps the history in your state directory.

Every setting can also come from the environment: --listen is SIGHTGLASS_LISTEN, --log-level SIGHTGLASS_LOG_LEVEL.
A flag wins over the environment, the environment over the default.`

type cli struct {
	Run         runCmd                `cmd:"" help:"Follow a node, compute the price, and serve the dashboard and the stream, until a signal stops it."`
	Demo        demoCmd               `cmd:"" help:"Run everything on real transactions of 2018 and 2019, replayed, without a node."`
	Price       commands.Price        `cmd:"" help:"Print the price that a file of transactions shows. Needs no node."`
	Replay      commands.Replay       `cmd:"" help:"Publish a file's transactions or a recording over ZMQ in place of bitcoind, for tests and demos."`
	Record      commands.Record       `cmd:"" help:"Record a node's messages for replay, until a signal stops it."`
	Backfill    standalone.Backfill   `cmd:"" help:"Add the prices of years to the history, from the node's blocks, while sightglass runs. Can be stopped and continued."`
	Export      standalone.Export     `cmd:"" help:"Print the whole history as CSV or JSON, while sightglass runs."`
	Checkconfig checkconfigCmd        `cmd:"" help:"Check the settings that run would use, and print what is wrong."`
	Health      daemon.HealthCommand  `cmd:"" help:"Query a running sightglass. Exit with 0 if it is ready, else with 1."`
	Version     daemon.VersionCommand `cmd:"" help:"Print the version."`
}

// version is stamped by the Makefile: -ldflags "-X main.version=...".
var version = "development"

func main() {
	daemon.Main(daemon.Program{
		Name: "sightglass", Description: description, Version: version, HealthURL: "http://127.0.0.1:8080/readyz",
		LogComponents: standalone.LogComponents(), LogExample: "node", Defaults: standalone.Defaults(),
	}, new(cli))
}

type runCmd struct {
	standalone.Options
	daemon.LogOptions
}

func (c *runCmd) Run(ctx context.Context) error {
	c.Log, c.Version, c.Out = c.Logger(standalone.LogWriter(os.Stderr, os.Stdout)), version, os.Stdout
	c.Alive = daemon.Watchdog(c.Log)
	s, err := standalone.New(ctx, c.Options)
	if err != nil {
		return err
	}
	daemon.NotifyReady(ctx, c.Log)
	return s.Run(ctx)
}

type checkconfigCmd struct {
	standalone.Options
	Probe bool `help:"Also search for the node and check it, for 20 s at most, and report each result. Changes nothing."`
	daemon.LogOptions
}

const probeTimeout = 20 * time.Second

func (c *checkconfigCmd) Run(ctx context.Context) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if !c.Probe {
		fmt.Println("the settings are valid")
		return nil
	}
	c.Log, c.Out = c.Logger(io.Discard), io.Discard
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	findings, err := standalone.Probe(ctx, c.Options)
	if err != nil {
		return err
	}
	return ingester.Report(findings, func(line string) { fmt.Println(line) })
}

type demoCmd struct {
	demo.Options
}

func (c *demoCmd) Run(ctx context.Context) error {
	logging.Disable() // the components log the same errors
	c.Out, c.Log = os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := demo.New(ctx, c.Options)
	if err != nil {
		return err
	}
	return d.Run(ctx)
}
