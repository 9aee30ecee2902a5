package edge

import (
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/valyala/fasthttp"
)

// Requests for what is on none of our paths have one label together: a client cannot make new series. Those that could
// not be read have no path.
const (
	routeOther = "other"
	routeNone  = "none"
)

// countRequests counts what the server answers, by route and status. All routes must be there already.
func (e *Edge) countRequests(app *fiber.App) {
	total := promauto.With(e.metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "sightglass_http_requests_total",
		Help: "HTTP requests that were answered, by route (other: no path of ours; none: no request that could be read) and status.",
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

// A routeSet is the paths that there are; one that ends in * stands for all that begin so.
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
