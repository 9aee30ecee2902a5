// Command ingester reads bitcoin's dollar price from a node's transactions and puts it on Redis.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"sightglass/ingester"
	"sightglass/shared/build"
	"sightglass/shared/logs"
)

const description = `Reads bitcoin's dollar price from a node's own transactions, asking no exchange, and puts it on Redis.

Every setting can also come from the environment: --zmq is SIGHTGLASS_ZMQ, --log-level SIGHTGLASS_LOG_LEVEL.
A flag wins over the environment, the environment over the default.`

type cli struct {
	Run         runCmd         `cmd:"" help:"Listen to a node, compute, and publish on Redis, until a signal stops it."`
	Price       priceCmd       `cmd:"" help:"Print the price that a file of transactions shows. Needs no node and no Redis."`
	Replay      replayCmd      `cmd:"" help:"Publish a file's transactions over ZMQ as bitcoind would, for trying things out."`
	Record      recordCmd      `cmd:"" help:"Write down what a node says, for replay, until a signal stops it."`
	Checkconfig checkconfigCmd `cmd:"" help:"Check the settings that run would use, and say what is wrong with them."`
	Health      healthCmd      `cmd:"" help:"Ask a running ingester whether it is ready, and exit with 0 if it is, or 1."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ingester:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k := kong.Parse(&cli{},
		kong.Name("ingester"), kong.Description(description),
		kong.DefaultEnvars("SIGHTGLASS"), kong.ShortUsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	return k.Run()
}

type runCmd struct {
	ingester.Options
	logOptions
}

func (c *runCmd) Run(ctx context.Context) error {
	c.Log, c.Version = c.logger(os.Stderr), version
	c.Alive = watchdog(c.Log.With(logs.Component, ingester.LogSupervisor))
	in, err := ingester.New(c.Options)
	if err != nil {
		return err
	}
	tellSupervisor(ctx, c.Log.With(logs.Component, ingester.LogSupervisor))
	return in.Run(ctx)
}

type checkconfigCmd struct {
	ingester.Options
	Probe bool `help:"Also try the node and Redis, and say what is right and what is wrong. Changes nothing."`
	logOptions
}

func (c *checkconfigCmd) Run(ctx context.Context) error {
	if err := c.Validate(); err != nil {
		return err
	}
	for _, retired := range ingester.RetiredSettings(os.LookupEnv) {
		fmt.Println(retired)
	}
	if c.Probe {
		c.logger(io.Discard) // what the libraries say is in the findings, in better words
		return ingester.Report(ingester.Probe(ctx, c.Options), func(line string) { fmt.Println(line) })
	}
	fmt.Println("the settings are good")
	return nil
}

// version is stamped by the Makefile: -ldflags "-X main.version=...".
var version = "development"

type versionCmd struct{}

func (versionCmd) Run() error {
	_, err := fmt.Println("ingester", build.Of(version))
	return err
}
