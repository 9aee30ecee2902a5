package edge

import (
	"github.com/gofiber/fiber/v2"

	"sightglass/edge/httpapi"
	"sightglass/edge/origin"
	"sightglass/edge/spec"
)

// mountAPI adds the paths under /api/, /price, and /og.png. Each also supports HEAD, and, but for the picture, OPTIONS for
// browsers' preflight requests.
func (e *Edge) mountAPI(app *fiber.App) {
	api := httpapi.New(e.feed.Latest, e.redis, e.opts.Logger(logAPI), e.metrics)
	app.Use("/api/", e.cors)
	app.Use("/price", e.cors)
	for path, handler := range map[string]fiber.Handler{
		"/price":                   api.Price,
		"/api/v1/price":            api.PriceAt,
		"/api/v1/prices":           api.Prices,
		"/api/v1/historical-price": api.HistoricalPrice,
		"/api/v1/snapshot":         api.Snapshot,
		"/api/v1/history":          api.History,
		"/api/v1/points":           api.Points,
		"/api/v1/evidence":         api.Evidence,
		"/api/v1/about":            httpapi.About(e.opts.Notice, e.opts.Replay).Send,
		"/api/openapi.json":        httpapi.Document(spec.OpenAPI).Send,
		"/api/asyncapi.json":       httpapi.Document(spec.AsyncAPI).Send,
	} {
		app.Get(path, handler)
		app.Options(path, e.preflight)
	}
	app.Get("/og.png", setPagePolicy, allowCrossOriginUse, api.Picture(e.opts.Notice, e.opts.Replay))
	app.Get("/api/v1/stream", e.admit, e.events)
	app.Options("/api/v1/stream", e.preflight)
}

const (
	apiMethods = "GET, HEAD, OPTIONS"
	// exposedHeaders are the response headers that scripts of other origins may read beyond those that browsers always allow.
	exposedHeaders = "ETag, Retry-After"
	// preflightMaxAge is how long a browser may cache a preflight response, in seconds. Browsers cap it at two hours or less.
	preflightMaxAge = "86400"
)

// cors sets the headers that allow pages of other origins to read the API. There are no credentials.
func (e *Edge) cors(c *fiber.Ctx) error {
	if allowed := e.allowedOrigin(c); allowed != "" {
		c.Set(fiber.HeaderAccessControlAllowOrigin, allowed)
		c.Set(fiber.HeaderAccessControlExposeHeaders, exposedHeaders)
	}
	return c.Next()
}

// allowedOrigin returns the value of Access-Control-Allow-Origin; "" for no header.
func (e *Edge) allowedOrigin(c *fiber.Ctx) string {
	switch readers := e.limits.readers; {
	case len(e.opts.CORSOrigins) == 0:
		return ""
	case readers.Any():
		return origin.Any
	default:
		c.Vary(fiber.HeaderOrigin) // also without an Origin: a cache must not serve that response to a page that has one
		if page := c.Get(fiber.HeaderOrigin); readers.Lists(page) {
			return page
		}
		return ""
	}
}

// preflight responds to OPTIONS on a path of the API, from browsers before a request and from others.
func (e *Edge) preflight(c *fiber.Ctx) error {
	c.Set(fiber.HeaderAllow, apiMethods)
	if c.GetRespHeader(fiber.HeaderAccessControlAllowOrigin) != "" {
		c.Set(fiber.HeaderAccessControlAllowMethods, apiMethods)
		c.Set(fiber.HeaderAccessControlAllowHeaders, fiber.HeaderIfNoneMatch)
		c.Set(fiber.HeaderAccessControlMaxAge, preflightMaxAge)
	}
	c.Status(fiber.StatusNoContent)
	return nil
}
