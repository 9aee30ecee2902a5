// Package demo runs the whole of Sightglass in one process: a replay of real transactions in the node's place, an
// ingester, a Redis, two edges.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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

// Options are the demo's settings.
type Options struct {
	EdgePort int      `default:"8080" env:"EDGE_PORT" help:"Port of the first edge, on 127.0.0.1; the second takes the next. 0: free ones."`
	Redis    string   `default:"" env:"REDIS_URL" help:"A Redis to use. Empty: one inside this process."`
	Rate     float64  `default:"100" env:"RATE" help:"Transactions a second. Mainnet sees about 7; the demo is in a hurry."`
	Files    []string `arg:"" name:"file" help:"Blocks, or text with one transaction in hex a line."`

	Out io.Writer    `kong:"-"` // the URLs and the status line
	Log *slog.Logger `kong:"-"`
}

// A Demo is everything bound and ready to run.
type Demo struct {
	opts     Options
	mini     *miniredis.Miniredis // nil with a Redis from outside
	redisURL string
	redis    redis.UniversalClient
	node     *replay.Publisher
	txs      []*wire.MsgTx
	ingester *ingester.Ingester
	edges    []*edge.Edge
}

// edges is how many edges there are: two show that any number works.
const edges = 2

// New reads the files and binds everything, or says what is in the way.
func New(ctx context.Context, o Options) (*Demo, error) {
	if o.EdgePort < 0 || o.EdgePort > 65535-edges+1 {
		return nil, fmt.Errorf("EDGE_PORT %d: want a port from 1 to %d, or 0", o.EdgePort, 65535-edges+1)
	}
	d := &Demo{opts: o}
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
		return nil, d.abandon(err)
	}
	io := ingester.Defaults()
	io.ZMQ, io.Redis, io.Log = []string{d.node.Endpoint()}, d.redisURL, o.Log
	if d.ingester, err = ingester.New(io); err != nil {
		return nil, d.abandon(err)
	}
	for i := range edges {
		if err := d.addEdge(i, notice); err != nil {
			return nil, d.abandon(err)
		}
	}
	return d, nil
}

// read loads the files and gives the dashboard's notice.
func (d *Demo) read() (notice string, err error) {
	var mined time.Time
	most := 0
	for _, name := range d.opts.Files {
		f, err := txfile.Read(name, nil)
		if err != nil {
			return "", err
		}
		d.txs = append(d.txs, f.Transactions...)
		if len(f.Transactions) > most {
			most, mined = len(f.Transactions), f.Mined
		}
	}
	if mined.IsZero() {
		return "Demo: transactions from a file, not today's.", nil
	}
	return fmt.Sprintf("Demo: real transactions of a block of %s, replayed. The price is that day's, not today's.",
		mined.UTC().Format("2 January 2006")), nil
}

func (d *Demo) startRedis(ctx context.Context) error {
	d.redisURL = d.opts.Redis
	if d.redisURL == "" {
		mini, err := miniredis.Run()
		if err != nil {
			return fmt.Errorf("starting a redis inside: %w", err)
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
		return fmt.Errorf("REDIS_URL: no redis answers: %w", err)
	}
	return nil
}

func (d *Demo) addEdge(i int, notice string) error {
	o := edge.Defaults()
	port := d.opts.EdgePort
	if port != 0 {
		port += i
	}
	o.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	o.Redis, o.Log, o.Notice = d.redisURL, d.opts.Log, notice
	o.DrainDelay, o.DrainWindow, o.Grace = 0, 0, time.Second // Ctrl-C should feel like one
	e, err := edge.New(o)
	if err != nil {
		return fmt.Errorf("edge %d: %w; is the port taken? EDGE_PORT=9090 sets another", i+1, err)
	}
	d.edges = append(d.edges, e)
	return nil
}

// abandon frees what New has bound so far, as far as it holds more than the process's end would free.
func (d *Demo) abandon(err error) error {
	if d.mini != nil {
		d.mini.Close()
	}
	return errors.Join(err, d.redis.Close())
}

// URLs are the edges' dashboards.
func (d *Demo) URLs() []string {
	var urls []string
	for _, e := range d.edges {
		urls = append(urls, "http://"+e.Addr().String()+"/")
	}
	return urls
}

// Run works until ctx ends.
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
