// Package edge relays the newest snapshot from Redis to browsers and serves the dashboard.
//
// Data flows from Redis through feed and hub to the sockets. An edge has no state of its own, so any number of edges can run
// behind any load balancer.
package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sightglass/edge/connlimit"
	"sightglass/edge/feed"
	"sightglass/edge/hub"
	"sightglass/shared/daemon"
)

// An Edge can be run once. New has validated its options and opened its listeners.
type Edge struct {
	opts     Options
	log      *slog.Logger
	metrics  *prometheus.Registry
	redis    redis.UniversalClient
	feed     *feed.Feed
	limits   limits
	hub      *hub.Hub
	app      *fiber.App
	public   *connlimit.Listener
	internal net.Listener // nil without InternalListen
	started  time.Time
	draining atomic.Bool
}

// New returns an edge, or an error that names every invalid option. Redis need not be reachable yet.
func New(o Options) (*Edge, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.SetDefaults()
	client, err := o.OpenRedis("sightglass-edge")
	if err != nil {
		return nil, err
	}
	e := &Edge{opts: o, log: o.Logger(logEdge), redis: client, metrics: o.Metrics, started: time.Now()}
	e.feed = feed.New(e.redis, o.Logger(logFeed), e.metrics)
	e.feed.Alive = o.Alive
	if e.limits, err = e.newLimits(); err != nil {
		return nil, errors.Join(err, e.redis.Close())
	}
	e.opts.MaxClients = fitMaxClients(o.MaxClients, e.log)
	e.hub = hub.New(hub.Options{
		Limiter: e.limits.limiter, MaxClients: e.opts.MaxClients,
		PingInterval: o.PingInterval, WriteTimeout: o.WriteTimeout, Rejections: e.limits.rejections, Log: o.Logger(logHub),
	}, e.metrics)
	e.app = e.routes()
	if err := e.listen(); err != nil {
		return nil, errors.Join(err, e.redis.Close())
	}
	e.registerGauges()
	return e, nil
}

// listen opens the public listener, and the internal one if it is set.
func (e *Edge) listen() (err error) {
	ln, err := listenPublic(e.opts.Listen, e.opts.WriteTimeout)
	if err != nil {
		return fmt.Errorf("--listen: %w: choose another address, or stop the program that has it", err)
	}
	e.public = connlimit.New(ln, connlimit.Options{
		MaxPerAddress: cmp.Or(e.opts.MaxConnsPerAddress, connsPerStream*e.opts.MaxPerAddress),
		Proxies:       e.limits.proxies, ProxyProtocol: e.opts.ProxyProtocol,
		HeaderTimeout: e.opts.HeaderTimeout, Rejections: e.limits.rejections,
	})
	if e.internal, err = daemon.ListenInternal(e.opts.InternalListen); err != nil {
		return errors.Join(err, e.public.Close())
	}
	return nil
}

// Addr returns the address of the public listener.
func (e *Edge) Addr() net.Addr { return e.public.Addr() }

// Clients returns the number of open streams.
func (e *Edge) Clients() int { return e.hub.Len() }

// Run serves until ctx ends, then drains and returns nil; draining takes at most DrainDelay, DrainWindow and Grace together.
// An error means that the edge cannot serve. An unreachable Redis is no error.
func (e *Edge) Run(ctx context.Context) error {
	defer e.redis.Close()
	feeding, stopFeeding := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFeeding()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { e.feed.Run(feeding, e.hub.Broadcast); return nil })
	if e.limits.fleet != nil {
		g.Go(func() error { e.limits.fleet.Run(feeding); return nil })
	}
	g.Go(func() error { e.hub.Run(feeding); return nil })
	g.Go(func() error { return e.app.Listener(e.public) })
	if e.internal != nil {
		g.Go(func() error { return daemon.ServeInternal(feeding, e.internal, daemon.InternalRoutes(e.metrics)) })
	}
	if e.opts.LogSummary > 0 {
		g.Go(func() error {
			daemon.Summarise(feeding, e.opts.LogSummary, e.metrics, e.log, "clients", summary)
			return nil
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		defer stopFeeding()
		return e.drain()
	})
	e.log.Info("listening", "addr", e.Addr().String())
	if err := g.Wait(); err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	return nil
}

// drain shuts down in three steps: during DrainDelay load balancers see that the edge is not ready, and clients still get
// every snapshot; over DrainWindow clients are disconnected one after another; and the last ones have Grace to close.
func (e *Edge) drain() error {
	e.draining.Store(true)
	e.log.Info("draining", "clients", e.hub.Len(), "delay", e.opts.DrainDelay, "window", e.opts.DrainWindow)
	time.Sleep(e.opts.DrainDelay)
	e.hub.Drain(e.opts.DrainWindow, e.opts.Grace)
	err := e.app.ShutdownWithTimeout(time.Second)
	if errors.Is(err, context.DeadlineExceeded) { // connections without a request, such as a browser's spare ones
		e.log.Debug("did not wait for connections without a request")
		err = nil
	}
	// Shutdown does nothing if the server has not begun to accept.
	if closed := e.public.Close(); !errors.Is(closed, net.ErrClosed) {
		err = errors.Join(err, closed)
	}
	if err != nil {
		return fmt.Errorf("closing the listener: %w", err)
	}
	return nil
}
