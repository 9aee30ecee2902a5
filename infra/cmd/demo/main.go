// Command demo runs all parts of Sightglass in one process, with transactions from files. See package demo.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9/logging"

	"sightglass/infra/demo"
)

func main() {
	logging.Disable() // the components log the same errors
	var o demo.Options
	kong.Parse(&o, kong.Name("demo"), kong.ShortUsageOnError(),
		kong.Description("Runs all parts of Sightglass in one process: a replay, an ingester, a Redis and two edges."))
	o.Out = os.Stdout
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(o demo.Options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d, err := demo.New(ctx, o)
	if err != nil {
		return err
	}
	return d.Run(ctx)
}
