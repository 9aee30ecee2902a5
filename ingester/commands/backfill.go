package commands

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sightglass/ingester"
	"sightglass/ingester/backfill"
	"sightglass/ingester/bitcoind"
	"sightglass/ingester/price"
	"sightglass/shared/daemon"
)

// Backfill writes the prices of a node's blocks to the history.
type Backfill struct {
	RPC                 string  `name:"rpc" default:"http://127.0.0.1:8332" placeholder:"URL" help:"bitcoind's RPC. With rest=1 in bitcoin.conf blocks come over REST, which is half as fast again."`
	RPCCookie           string  `name:"rpc-cookie" default:"" placeholder:"PATH" help:"The node's .cookie file, in its data directory."`
	RPCUser             string  `name:"rpc-user" default:"" help:"User for the RPC, instead of a cookie."`
	RPCPassword         string  `name:"rpc-password" default:"" help:"Password for the RPC; SIGHTGLASS_RPC_PASSWORD keeps it out of the process list."`
	From                string  `name:"from" default:"2017-01-01" placeholder:"DATE" help:"The first day (UTC). Before 2017 people priced in bitcoin more than in dollars: expect one price in six to be off by a factor, and a confidence that says so."`
	FromHeight          int64   `name:"from-height" default:"0" placeholder:"HEIGHT" help:"The first block, instead of a day."`
	To                  string  `name:"to" default:"" placeholder:"DATE" help:"The last day (UTC). Without it: the newest block."`
	ToHeight            int64   `name:"to-height" default:"0" placeholder:"HEIGHT" help:"The last block, instead of a day."`
	Workers             int     `name:"workers" default:"0" help:"Number of blocks to read at once, 1 to 16. 0: one for each processor."`
	PriceHint           float64 `name:"price-hint" default:"0" placeholder:"USD" help:"The price at the last block, right within about 10 %, for a history that has no blocks yet. 0: the blocks show it."`
	daemon.RedisOptions `set:"snapshots=go to"`
	daemon.LogOptions
}

// Run computes and writes until all is done or ctx ends. While the node or Redis does not respond, it waits.
func (c *Backfill) Run(ctx context.Context) error {
	return c.run(ctx, c.Logger(os.Stderr).With(daemon.Component, ingester.LogBackfill), os.Stdout)
}

func (c *Backfill) run(ctx context.Context, log *slog.Logger, out io.Writer) error {
	if c.Workers < 0 || c.Workers > 16 {
		return fmt.Errorf("--workers %d: want 1 to 16, or 0 for one for each processor", c.Workers)
	}
	if err := ingester.CheckPriceHint(c.PriceHint); err != nil {
		return err
	}
	node, err := bitcoind.New(bitcoind.Options{URL: c.RPC, Cookie: c.RPCCookie, User: c.RPCUser, Password: c.RPCPassword})
	if err != nil {
		return err
	}
	defer node.Close()
	client, err := c.OpenRedis("sightglass-backfill")
	if err != nil {
		return err
	}
	defer client.Close()
	yieldProcessors()
	shown, outage := time.Time{}, daemon.Outage{Log: log}
	o := backfill.Options{
		Node: node, Redis: client, Log: log, Metrics: backfill.NewMetrics(prometheus.NewRegistry()),
		Workers: cmp.Or(c.Workers, min(runtime.NumCPU(), 16)), Holder: rand.Text(), PriceHint: price.USD(c.PriceHint),
		Report: func(r backfill.Report) {
			outage.Recovered("the backfill continues")
			if r.Done >= r.Total || time.Since(shown) >= reportInterval {
				shown = time.Now()
				fmt.Fprintln(out, progress(r))
			}
		},
	}
	for {
		err := c.fill(ctx, o)
		switch {
		case ctx.Err() != nil:
			fmt.Fprintln(out, "stopped; the same command continues")
			return nil
		case err == nil:
			fmt.Fprintln(out, "the history has all of these blocks")
			return nil
		case !backfill.Temporary(err):
			return err
		}
		outage.Failed("the backfill waits, and tries again", backfill.Explain(err))
		select {
		case <-ctx.Done():
		case <-time.After(retryInterval):
		}
	}
}

// yieldProcessors lowers the priority of all threads of this process, and so of those that they start: ingesters and the node
// come first. It changes nothing where that is not possible.
func yieldProcessors() {
	threads, _ := filepath.Glob("/proc/self/task/*") // the pattern is valid
	for _, path := range threads {
		if id, err := strconv.Atoi(filepath.Base(path)); err == nil {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, backgroundPriority)
		}
	}
}

const backgroundPriority = 10 // of -20 to 19, as in nice(1)

const (
	reportInterval = 2 * time.Second
	retryInterval  = 5 * time.Second
)

// fill runs once.
func (c *Backfill) fill(ctx context.Context, o backfill.Options) error {
	from, to := c.FromHeight, cmp.Or(c.ToHeight, math.MaxInt64)
	for _, end := range []struct {
		flag, day string
		height    *int64
		after     int // days and blocks to add
	}{{"--from", c.From, &from, 0}, {"--to", c.To, &to, 1}} {
		if end.day == "" || *end.height > 0 && *end.height < math.MaxInt64 {
			continue
		}
		day, err := time.Parse(time.DateOnly, end.day)
		if err != nil {
			return fmt.Errorf("%w: %s %.40q: want a day such as 2017-01-31", backfill.ErrRange, end.flag, end.day)
		}
		height, err := backfill.HeightAt(ctx, o.Node, day.AddDate(0, 0, end.after))
		if err != nil {
			return err
		}
		*end.height = height - int64(end.after)
	}
	return backfill.Run(ctx, o, from, to)
}

// progress describes a report in a line.
func progress(r backfill.Report) string {
	rate := float64(r.Done) / max(r.Took.Seconds(), 1e-3)
	left := time.Duration(float64(r.Total-r.Done) / max(rate, 1e-3) * float64(time.Second))
	at := time.Unix(r.Block.Timestamp, 0).UTC().Format(time.DateOnly)
	return fmt.Sprintf("%s, block %d: %.2f USD, confidence %.2f; %d of %d blocks (%.1f %%), %.0f blocks/s, %v left",
		at, r.Block.Height, r.Block.Price, r.Block.Confidence, r.Done, r.Total, 100*float64(r.Done)/float64(max(r.Total, 1)), rate, left.Round(time.Second))
}
