// Package edge relays the newest snapshot from Redis to browsers, and serves the dashboard that shows it.
//
// The data's way: Redis -> feed -> hub -> socket. An edge keeps nothing of its own, so any number of them stand
// behind any load balancer.
package edge

import (
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

// An Edge is ready to run once: New has checked its options and bound its addresses.
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

// New makes an edge or says what is wrong with its options. Redis need not be there yet.
func New(o Options) (*Edge, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	client, err := o.OpenRedis("sightglass-edge")
	if err != nil {
		return nil, err
	}
	e := &Edge{opts: o, log: o.logger(logEdge), redis: client, metrics: prometheus.NewRegistry(), started: time.Now()}
	daemon.RegisterProcess(e.metrics, o.Version)
	e.feed = feed.New(e.redis, o.logger(logFeed), e.metrics)
	e.feed.Alive = o.Alive
	if e.limits, err = e.newLimits(); err != nil {
		return nil, errors.Join(err, e.redis.Close())
	}
	e.opts.MaxClients = fitClients(o.MaxClients, e.log)
	e.hub = hub.New(hub.Options{
		Limiter: e.limits.limiter(), MaxClients: e.opts.MaxClients,
		PingInterval: o.PingInterval, WriteTimeout: o.WriteTimeout, Rejections: e.limits.rejections, Log: o.logger(logHub),
	}, e.metrics)
	e.app = e.routes()
	if err := e.bind(); err != nil {
		return nil, errors.Join(err, e.redis.Close())
	}
	e.gauges()
	return e, nil
}

func (e *Edge) bind() (err error) {
	ln, err := listenPublic(e.opts.Listen, e.opts.WriteTimeout)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	e.public = connlimit.New(ln, connlimit.Options{
		MaxPerAddress: e.opts.maxSockets(), Proxies: e.limits.proxies, ProxyProtocol: e.opts.ProxyProtocol,
		HeaderTimeout: e.opts.HeaderTimeout, Rejections: e.limits.rejections,
	})
	if e.internal, err = daemon.ListenInternal(e.opts.InternalListen); err != nil {
		return errors.Join(err, e.public.Close())
	}
	return nil
}

// Addr is where browsers connect.
func (e *Edge) Addr() net.Addr { return e.public.Addr() }

// Clients is the number of WebSockets that are connected.
func (e *Edge) Clients() int { return e.hub.Len() }

// Run works until ctx ends, then drains and returns nil: within DrainDelay, DrainWindow and Grace together. Its error
// is one that it cannot go on with; a Redis that is away is not.
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
		g.Go(func() error { return daemon.ServeInternal(feeding, e.internal, e.internalRoutes()) })
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
	e.log.Info("edge is listening", "addr", e.Addr().String())
	if err := g.Wait(); err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	return nil
}

// drain stops serving in three steps: DrainDelay for load balancers to notice that the edge is no longer ready, while
// clients still get everything; DrainWindow over which clients are told to go; and Grace for the last of them.
func (e *Edge) drain() error {
	e.draining.Store(true)
	e.log.Info("draining", "clients", e.hub.Len(), "delay", e.opts.DrainDelay, "window", e.opts.DrainWindow)
	time.Sleep(e.opts.DrainDelay)
	e.hub.Drain(e.opts.DrainWindow, e.opts.Grace)
	err := e.app.ShutdownWithTimeout(time.Second)
	if errors.Is(err, context.DeadlineExceeded) { // a connection that has sent nothing yet, such as a browser's spare one
		e.log.Debug("left connections without a request behind")
		err = nil
	}
	// Shutdown does nothing if it comes before the server has begun to accept.
	if closed := e.public.Close(); !errors.Is(closed, net.ErrClosed) {
		err = errors.Join(err, closed)
	}
	if err != nil {
		return fmt.Errorf("closing the listener: %w", err)
	}
	return nil
}
