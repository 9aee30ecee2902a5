// Command loadtest measures an edge with thousands of clients, and compares it with the floor. See package fanout.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9/logging"

	"sightglass/infra/fanout"
)

type cli struct {
	Run   runCmd   `cmd:"" default:"withargs" help:"Measure an edge and the floor."`
	Floor floorCmd `cmd:"" hidden:""`
}

func main() {
	logging.Disable() // its errors are also returned
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k := kong.Parse(&cli{}, kong.Name("loadtest"), kong.ShortUsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Description("Measures the latency, CPU time and memory of an edge's fan-out, and compares them with a minimal server, the floor."))
	return k.Run()
}

type runCmd struct {
	fanout.Options
	Format string `default:"table" enum:"table,json" help:"Output format: table or json."`
}

func (c *runCmd) Run(ctx context.Context) error {
	c.Progress = func(line fmt.Stringer) { fmt.Fprintln(os.Stderr, line) }
	report, err := fanout.Compare(ctx, c.Options)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		return report.WriteJSON(os.Stdout)
	}
	report.WriteText(os.Stdout)
	return nil
}

type floorCmd struct {
	Listen string `arg:""`
}

func (c *floorCmd) Run() error { return fanout.ServeFloor(c.Listen) }
