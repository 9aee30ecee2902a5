package edge

import (
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/valyala/fasthttp"
)

// registerGauges registers the edge's current counts and its readiness.
func (e *Edge) registerGauges() {
	gauge := func(name, help string, value func() int) {
		promauto.With(e.metrics).NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	gauge("sightglass_client_addresses", "Addresses with open streams.", e.limits.addresses.Len)
	gauge("sightglass_clients_limit", "Maximum number of clients: --max-clients, or less if the limit of open files is lower.", func() int { return e.opts.MaxClients })
	gauge("sightglass_edge_handshake_addresses", "Addresses whose requests for streams are being rate limited or were recently.", e.limits.handshakes.Len)
	gauge("sightglass_edge_sockets", "Open TCP connections, without those of proxies.", func() int { n, _ := e.public.Held(); return n })
	gauge("sightglass_edge_socket_addresses", "Addresses with open TCP connections.", func() int { _, n := e.public.Held(); return n })
	gauge("sightglass_edge_ready", "1 while /readyz responds with 200, 0 otherwise.", func() int { return oneIf(e.unready() == nil) })
	gauge("sightglass_feed_connected", "1 while the edge is subscribed to snapshots on Redis, 0 otherwise.", func() int { return oneIf(e.feed.Connected()) })
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Requests for unknown paths share one label, so that a client cannot create series. Requests that could not be parsed have
// no path.
const (
	routeOther = "other"
	routeNone  = "none"
)

// countRequests counts the server's responses by route and status. Call it after all routes are added.
func (e *Edge) countRequests(app *fiber.App) {
	total := promauto.With(e.metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "sightglass_http_requests_total",
		Help: "HTTP responses, by route (other: unknown path; none: malformed request) and status.",
	}, []string{"route", "code"})
	routes := routesOf(app)
	server := app.Server()
	handle, fail := server.Handler, server.ErrorHandler
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		route := routes.of(string(ctx.Path()))
		handle(ctx)
		total.WithLabelValues(route, strconv.Itoa(ctx.Response.StatusCode())).Inc()
	}
	server.ErrorHandler = func(ctx *fasthttp.RequestCtx, err error) {
		fail(ctx, err)
		total.WithLabelValues(routeNone, strconv.Itoa(ctx.Response.StatusCode())).Inc()
	}
}

// A routeSet has the paths of all routes. prefixes are those of paths that end in *.
type routeSet struct {
	exact    map[string]struct{}
	prefixes []string
}

func routesOf(app *fiber.App) routeSet {
	s := routeSet{exact: make(map[string]struct{})}
	for _, r := range app.GetRoutes(true) {
		if prefix, ok := strings.CutSuffix(r.Path, "*"); ok && r.Method == fiber.MethodGet {
			s.prefixes = append(s.prefixes, prefix)
		}
		s.exact[r.Path] = struct{}{}
	}
	return s
}

func (s routeSet) of(path string) string {
	if _, ok := s.exact[path]; ok {
		return path
	}
	for _, prefix := range s.prefixes {
		if strings.HasPrefix(path, prefix) {
			return prefix + "*"
		}
	}
	return routeOther
}
