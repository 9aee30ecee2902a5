package edge

import (
	"github.com/gofiber/fiber/v2"

	"sightglass/edge/httpapi"
	"sightglass/edge/spec"
)

// mountAPI adds the paths under /api/. Each also answers HEAD, and OPTIONS for browsers' preflight requests.
func (e *Edge) mountAPI(app *fiber.App) {
	api := httpapi.New(e.feed.Latest, e.redis, e.opts.logger(logAPI), e.metrics)
	app.Use("/api/", e.cors)
	for path, handler := range map[string]fiber.Handler{
		"/api/v1/snapshot":   api.Snapshot,
		"/api/v1/history":    api.History,
		"/api/v1/points":     api.Points,
		"/api/v1/about":      httpapi.About(e.opts.Notice).Send,
		"/api/openapi.json":  httpapi.Document(spec.OpenAPI).Send,
		"/api/asyncapi.json": httpapi.Document(spec.AsyncAPI).Send,
	} {
		app.Get(path, handler)
		app.Options(path, e.preflight)
	}
	app.Get("/api/v1/stream", e.admit, e.events)
	app.Options("/api/v1/stream", e.preflight)
}
