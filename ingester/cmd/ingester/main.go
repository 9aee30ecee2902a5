// Command ingester computes bitcoin's dollar price from a node's transactions and publishes it on Redis.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"sightglass/ingester"
	"sightglass/ingester/commands"
	"sightglass/shared/contract"
	"sightglass/shared/daemon"
)

const description = `Computes bitcoin's dollar price from a node's own transactions, without any exchange, and publishes it on Redis.

Every setting can also come from the environment: --zmq is SIGHTGLASS_ZMQ, --log-level SIGHTGLASS_LOG_LEVEL.
A flag wins over the environment, the environment over the default.`

type cli struct {
	Run         runCmd                `cmd:"" help:"Follow a node, compute the price, and publish snapshots on Redis, until a signal stops it."`
	Price       commands.Price        `cmd:"" help:"Print the price that a file of transactions shows. Needs no node and no Redis."`
	Replay      commands.Replay       `cmd:"" help:"Publish a file's transactions or a recording over ZMQ in place of bitcoind, for tests and demos."`
	Record      commands.Record       `cmd:"" help:"Record a node's messages for replay, until a signal stops it."`
	Export      commands.Export       `cmd:"" help:"Print the whole history that Redis holds, as CSV or JSON."`
	Backfill    commands.Backfill     `cmd:"" help:"Compute the price of each block of a node's chain, and write it to the history in Redis. Can be stopped and continued, beside running ingesters."`
	Checkconfig checkconfigCmd        `cmd:"" help:"Check the settings that run would use, and print what is wrong."`
	Health      daemon.HealthCommand  `cmd:"" help:"Query a running ingester. Exit with 0 if it is ready, else with 1."`
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
		{Name: "SIGHTGLASS_INTERVAL", Instead: fmt.Sprintf("a snapshot is published every %v", contract.Interval)},
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
	Probe bool `help:"Also check the node and Redis, and report each result. Changes nothing."`
	daemon.LogOptions
}

func (c *checkconfigCmd) Run(ctx context.Context, warnings daemon.Warnings) error {
	if err := c.Validate(); err != nil {
		return err
	}
	warnings.Print()
	if c.Probe {
		c.Logger(io.Discard) // the findings include what the libraries would log
		return ingester.Report(ingester.Probe(ctx, c.Options), func(line string) { fmt.Println(line) })
	}
	fmt.Println("the settings are valid")
	return nil
}
