// Command ingester reads bitcoin's dollar price from a node's transactions and puts it on Redis.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"sightglass/ingester"
	"sightglass/shared/contract"
	"sightglass/shared/daemon"
)

const description = `Reads bitcoin's dollar price from a node's own transactions, asking no exchange, and puts it on Redis.

Every setting can also come from the environment: --zmq is SIGHTGLASS_ZMQ, --log-level SIGHTGLASS_LOG_LEVEL.
A flag wins over the environment, the environment over the default.`

type cli struct {
	Run         runCmd                `cmd:"" help:"Listen to a node, compute, and publish on Redis, until a signal stops it."`
	Price       priceCmd              `cmd:"" help:"Print the price that a file of transactions shows. Needs no node and no Redis."`
	Replay      replayCmd             `cmd:"" help:"Publish a file's transactions over ZMQ as bitcoind would, for trying things out."`
	Record      recordCmd             `cmd:"" help:"Write down what a node says, for replay, until a signal stops it."`
	Checkconfig checkconfigCmd        `cmd:"" help:"Check the settings that run would use, and say what is wrong with them."`
	Health      daemon.HealthCommand  `cmd:"" help:"Ask a running ingester whether it is ready, and exit with 0 if it is, or 1."`
	Version     daemon.VersionCommand `cmd:"" help:"Print the version."`
}

// version is stamped by the Makefile: -ldflags "-X main.version=...".
var version = "development"

var program = daemon.Program{
	Name: "ingester", Description: description, Version: version, HealthURL: "http://127.0.0.1:9101/readyz",
	LogComponents: ingester.LogComponents(), LogExample: "node",
	OldVariables: []daemon.OldVariable{
		{Name: "SIGHTGLASS_NEAR", New: "SIGHTGLASS_PRICE_HINT"},
		{Name: "SIGHTGLASS_QUIET", New: "SIGHTGLASS_ZMQ_IDLE_TIMEOUT"},
		{Name: "SIGHTGLASS_INTERVAL", Instead: fmt.Sprintf("a snapshot comes every %v", contract.Interval)},
		{Name: "SIGHTGLASS_WINDOW", Instead: fmt.Sprintf("a transaction counts for %v", contract.Window)},
	},
}

func main() { daemon.Main(program, new(cli)) }

type runCmd struct {
	ingester.Options
	daemon.LogOptions
}

func (c *runCmd) Run(ctx context.Context, warnings daemon.Warnings) error {
	c.Log, c.Version = c.Logger(os.Stderr), version
	warnings.Log(c.Log.With(daemon.Component, "ingester"))
	c.Alive = daemon.Watchdog(c.Log)
	in, err := ingester.New(c.Options)
	if err != nil {
		return err
	}
	daemon.NotifyReady(ctx, c.Log)
	return in.Run(ctx)
}

type checkconfigCmd struct {
	ingester.Options
	Probe bool `help:"Also try the node and Redis, and say what is right and what is wrong. Changes nothing."`
	daemon.LogOptions
}

func (c *checkconfigCmd) Run(ctx context.Context, warnings daemon.Warnings) error {
	if err := c.Validate(); err != nil {
		return err
	}
	warnings.Print()
	if c.Probe {
		c.Logger(io.Discard) // what the libraries say is in the findings, in better words
		return ingester.Report(ingester.Probe(ctx, c.Options), func(line string) { fmt.Println(line) })
	}
	fmt.Println("the settings are good")
	return nil
}
