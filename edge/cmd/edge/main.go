// Command edge relays the newest price from Redis to browsers' WebSockets, and serves the dashboard.
package main

import (
	"context"
	"fmt"
	"os"

	"sightglass/edge"
	"sightglass/shared/daemon"
)

const description = `Relays the newest price from Redis to browsers' WebSockets (/ws/mempool), and serves the dashboard (/).
Start as many as you like, behind any load balancer: an edge keeps nothing of its own.

Every setting can also come from the environment: --redis is SIGHTGLASS_REDIS, --log-level SIGHTGLASS_LOG_LEVEL.
A flag wins over the environment, the environment over the default.`

type cli struct {
	Run         runCmd                `cmd:"" help:"Serve until a signal stops it; SIGTERM drains."`
	Checkconfig checkconfigCmd        `cmd:"" help:"Check the settings that run would use, and print what is wrong."`
	Health      daemon.HealthCommand  `cmd:"" help:"Query a running edge. Exit with 0 if it is ready, else with 1."`
	Version     daemon.VersionCommand `cmd:"" help:"Print the version."`
}

// version is stamped by the Makefile: -ldflags "-X main.version=...".
var version = "development"

func main() {
	daemon.Main(daemon.Program{
		Name: "edge", Description: description, Version: version, HealthURL: "http://127.0.0.1:8080/readyz",
		LogComponents: edge.LogComponents(), LogExample: "hub",
		OldVariables: []daemon.OldVariable{
			{Name: "SIGHTGLASS_MAX_SOCKETS_PER_ADDRESS", New: "SIGHTGLASS_MAX_CONNS_PER_ADDRESS"},
		},
	}, new(cli))
}

type runCmd struct {
	edge.Options
	daemon.LogOptions
}

func (c *runCmd) Run(ctx context.Context, warnings daemon.Warnings) error {
	c.Log, c.Version = c.Logger(os.Stderr), version
	warnings.Log(c.Log.With(daemon.Component, "edge"))
	c.Alive = daemon.Watchdog(c.Log)
	e, err := edge.New(c.Options)
	if err != nil {
		return err
	}
	daemon.NotifyReady(ctx, c.Log)
	return e.Run(ctx)
}

type checkconfigCmd struct {
	edge.Options
	daemon.LogOptions
}

func (c *checkconfigCmd) Run(warnings daemon.Warnings) error {
	if err := c.Validate(); err != nil {
		return err
	}
	warnings.Print()
	fmt.Println("the settings are valid")
	return nil
}
