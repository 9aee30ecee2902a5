package standalone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"sightglass/edge"
	"sightglass/infra/localredis"
	"sightglass/ingester"
	"sightglass/shared/contract"
)

// The component of what only this program logs.
const logStandalone = "standalone"

// LogComponents are all components that log.
func LogComponents() []string {
	all := slices.Concat([]string{logStandalone}, ingester.LogComponents(), edge.LogComponents())
	slices.Sort(all)
	return slices.Compact(all)
}

// A Standalone can be run once. New has opened its listeners and its data directory.
type Standalone struct {
	opts    Options
	cookies []string          // of nodes on this machine
	redis   *localredis.Redis // nil with a Redis from outside
	edge    *edge.Edge

	mu        sync.Mutex
	ingesting bool // the ingester notifies the watchdog; before it runs, the edge does
}

// New returns ctx's error if that ends meanwhile. It validates the options, searches for the node unless they name it, opens the data directory and listens. The node need
// not respond yet.
func New(ctx context.Context, o Options) (_ *Standalone, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	cookies, err := o.findNode()
	if err != nil {
		return nil, err
	}
	o.SetDefaults()
	s := &Standalone{opts: o, cookies: cookies}
	redis := "redis      " + withoutUser(o.Redis)
	if o.Redis == "" {
		dir, err := dataDir(o.DataDir)
		if err != nil {
			return nil, err
		}
		if s.redis, err = localredis.Open(ctx, localredis.Options{Dir: dir, Version: o.Version, Log: o.Logger(logStandalone), Metrics: o.Metrics}); err != nil {
			return nil, err
		}
		s.opts.Redis, s.opts.PeersDir = s.redis.URL(), cmp.Or(o.PeersDir, dir)
		redis = fmt.Sprintf("redis      %s\n             redis-cli -s %q SUBSCRIBE %s", s.redis, s.redis.Socket(), contract.Channel)
	}
	of := s.opts.edge()
	of.Alive = func() { s.alive(false) }
	if s.edge, err = edge.New(of); err != nil {
		if s.redis != nil {
			err = errors.Join(err, s.redis.Close())
		}
		return nil, err
	}
	fmt.Fprintf(o.Out, "Sightglass %s\n  %s\n", o.Version, redis)
	for _, url := range s.URLs() {
		fmt.Fprintf(o.Out, "  dashboard  %s\n", url)
	}
	return s, nil
}

// URLs returns the dashboard's addresses: this machine's, if it listens on all of them.
func (s *Standalone) URLs() (urls []string) {
	host, port, _ := net.SplitHostPort(s.edge.Addr().String()) // a listener's address is valid
	hosts := []string{host}
	if net.ParseIP(host).IsUnspecified() {
		hosts = []string{"127.0.0.1"}
		addrs, _ := net.InterfaceAddrs() // then loopback alone is printed
		for _, a := range addrs {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() {
				hosts = append(hosts, ip.IP.String())
			}
		}
	}
	for _, host := range hosts {
		urls = append(urls, "http://"+net.JoinHostPort(host, port)+"/")
	}
	return urls
}

// Run serves until ctx ends. Then it saves everything and returns nil within two seconds. The ingester starts when the node
// responds; the edge serves the history before that.
func (s *Standalone) Run(ctx context.Context) error {
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	kept := make(chan error, 1)
	go func() {
		if s.redis == nil {
			kept <- nil
			return
		}
		kept <- s.redis.Run(keeping)
	}()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.edge.Run(ctx) })
	g.Go(func() error { return s.ingest(ctx) })
	g.Go(func() error { return s.report(ctx) })
	err := g.Wait()
	stopKeeping() // the ingester and the edge need Redis to their end
	return errors.Join(err, <-kept)
}

func (s *Standalone) ingest(ctx context.Context) error {
	if err := s.awaitNode(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	of := s.opts.ingester()
	of.Alive = func() { s.alive(true) }
	in, err := ingester.New(of)
	if err != nil {
		return err
	}
	return in.Run(ctx)
}

// alive notifies the watchdog for the ingester, or for the edge while there is no ingester.
func (s *Standalone) alive(byIngester bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ingesting = s.ingesting || byIngester
	if s.opts.Alive != nil && s.ingesting == byIngester {
		s.opts.Alive()
	}
}

// Probe checks the node as the program would use it, and a Redis from outside, and changes neither.
func Probe(ctx context.Context, o Options) ([]ingester.Finding, error) {
	if _, err := o.findNode(); err != nil {
		return nil, err
	}
	o.SetDefaults()
	s := &Standalone{opts: o}
	if o.RPC != "" {
		var advice *settingsAdvice
		var permanent permanentError
		if err := s.inspect(ctx); errors.As(err, &advice) || errors.As(err, &permanent) {
			return nil, err // other errors are among the findings
		}
	}
	if len(s.opts.ZMQ) == 0 {
		s.opts.ZMQ = []string{defaultZMQ}
	}
	return ingester.Probe(ctx, s.opts.ingester()), nil
}
