// Package demo runs all parts of Sightglass in one process: a replay of real transactions in place of a node, an ingester,
// a Redis and two edges.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/btcsuite/btcd/wire"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sightglass/edge"
	"sightglass/ingester"
	"sightglass/ingester/replay"
	"sightglass/ingester/txfile"
	"sightglass/shared/redisurl"
)

// Options are the demo's settings. Their tags hold the defaults and the help.
type Options struct {
	EdgePort int      `default:"8080" env:"EDGE_PORT" help:"Port of the first edge on 127.0.0.1. The second edge uses the next port. 0: any free ports."`
	Redis    string   `default:"" env:"REDIS_URL" help:"URL of a Redis server. Empty: one inside this process."`
	Rate     float64  `default:"100" env:"RATE" help:"Transactions a second. Mainnet has about 7; a higher rate shows a price sooner."`
	Files    []string `arg:"" optional:"" name:"file" help:"A block, or a text file with one hex-encoded transaction per line. None: the block that is installed with the program, in share/sightglass."`

	Out io.Writer    `kong:"-"` // for the URLs and the status line
	Log *slog.Logger `kong:"-"`
}

// A Demo has all its components, listening and ready to run.
type Demo struct {
	opts     Options
	mini     *miniredis.Miniredis // nil with an external Redis
	redisURL string
	redis    redis.UniversalClient
	node     *replay.Publisher
	txs      []*wire.MsgTx
	ingester *ingester.Ingester
	edges    []*edge.Edge
}

// edgeCount is the number of edges. Two show that several edges work together.
const edgeCount = 2

// New reads the files and starts to listen. It returns an error if an option is invalid, a file is unreadable, Redis does
// not respond, or a port is in use.
func New(ctx context.Context, o Options) (*Demo, error) {
	if o.EdgePort < 0 || o.EdgePort > 65535-edgeCount+1 {
		return nil, fmt.Errorf("EDGE_PORT %d: want a port from 1 to %d, or 0", o.EdgePort, 65535-edgeCount+1)
	}
	d := &Demo{opts: o}
	if len(o.Files) == 0 {
		var err error
		if d.opts.Files, err = installed(); err != nil {
			return nil, err
		}
	}
	notice, err := d.read()
	if err != nil {
		return nil, err
	}
	if err := d.startRedis(ctx); err != nil {
		return nil, err
	}
	if d.node, err = replay.New(replay.Options{
		Endpoint: "tcp://127.0.0.1:*", Rate: o.Rate, Loop: true, Log: o.Log,
	}); err != nil {
		return nil, d.cleanup(err)
	}
	in := ingester.Defaults()
	in.ZMQ, in.Redis, in.Log = []string{d.node.Endpoint()}, d.redisURL, o.Log
	if d.ingester, err = ingester.New(in); err != nil {
		return nil, d.cleanup(err)
	}
	for i := range edgeCount {
		if err := d.addEdge(i, notice); err != nil {
			return nil, d.cleanup(err)
		}
	}
	return d, nil
}

// installed returns the block of a release or a package: ../share/sightglass/*.blk, as seen from the program.
func installed() ([]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pattern := filepath.Join(filepath.Dir(filepath.Dir(program)), "share", "sightglass", "*.blk")
	files, err := filepath.Glob(pattern)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("found no %s: name a block, or a file of transactions", pattern)
	}
	return files, err
}

// read reads the files and returns the dashboard's notice, with the date of the largest block.
func (d *Demo) read() (notice string, err error) {
	var mined time.Time
	largest := 0 // transactions
	for _, name := range d.opts.Files {
		f, err := txfile.Read(name, nil)
		if err != nil {
			return "", err
		}
		d.txs = append(d.txs, f.Transactions...)
		if len(f.Transactions) > largest {
			largest, mined = len(f.Transactions), f.Mined
		}
	}
	if mined.IsZero() {
		return "Demo: transactions from a file. The price is not today's.", nil
	}
	return fmt.Sprintf("Demo: real transactions of a block of %s, replayed. The price is that day's, not today's.",
		mined.UTC().Format("2 January 2006")), nil
}

// startRedis starts the internal Redis, unless REDIS_URL names another, and checks that it responds within 3 s.
func (d *Demo) startRedis(ctx context.Context) error {
	d.redisURL = d.opts.Redis
	if d.redisURL == "" {
		mini, err := miniredis.Run()
		if err != nil {
			return fmt.Errorf("starting the internal Redis: %w", err)
		}
		d.mini, d.redisURL = mini, "redis://"+mini.Addr()
	}
	client, err := redisurl.Open(d.redisURL, redisurl.Options{Name: "sightglass-demo"})
	if err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	d.redis = client
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := d.redis.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("REDIS_URL: Redis does not respond: %w", err)
	}
	return nil
}

// addEdge creates the i-th edge, from 0.
func (d *Demo) addEdge(i int, notice string) error {
	o := edge.Defaults()
	port := d.opts.EdgePort
	if port != 0 {
		port += i
	}
	o.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	o.Redis, o.Log, o.Notice = d.redisURL, d.opts.Log, notice
	o.Replay = true
	o.DrainDelay, o.DrainWindow, o.Grace = 0, 0, time.Second // stop at once on Ctrl-C
	e, err := edge.New(o)
	if err != nil {
		return fmt.Errorf("edge %d: %w; if the port is in use, set another with EDGE_PORT=9090", i+1, err)
	}
	d.edges = append(d.edges, e)
	return nil
}

// cleanup closes the Redis server and client after a failed New, and returns err joined with the error of closing.
func (d *Demo) cleanup(err error) error {
	if d.mini != nil {
		d.mini.Close()
	}
	return errors.Join(err, d.redis.Close())
}

// URLs returns the URLs of the edges' dashboards.
func (d *Demo) URLs() []string {
	var urls []string
	for _, e := range d.edges {
		urls = append(urls, "http://"+e.Addr().String()+"/")
	}
	return urls
}

// Run runs all components until ctx ends or one of them fails, and returns the first error.
func (d *Demo) Run(ctx context.Context) error {
	if d.mini != nil {
		defer d.mini.Close()
	}
	defer d.redis.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.node.Run(ctx, d.txs) })
	g.Go(func() error { return d.ingester.Run(ctx) })
	for _, e := range d.edges {
		g.Go(func() error { return e.Run(ctx) })
	}
	g.Go(func() error { d.report(ctx); return nil })
	return g.Wait()
}
