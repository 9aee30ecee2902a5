package edge

import (
	"github.com/gofiber/fiber/v2"

	"sightglass/edge/origin"
)

const (
	apiMethods = "GET, HEAD, OPTIONS"
	// readable are the headers of ours that a script of another origin gets to see beyond what browsers show anyway.
	readable = "ETag, Retry-After"
	// preflightAge is how long a browser need not ask again, in seconds: a day; browsers cap it at two hours or less.
	preflightAge = "86400"
)

// cors tells browsers which pages of other origins may read the API. Credentials never matter here: there are none.
func (e *Edge) cors(c *fiber.Ctx) error {
	if allowed := e.allowedOrigin(c); allowed != "" {
		c.Set(fiber.HeaderAccessControlAllowOrigin, allowed)
		c.Set(fiber.HeaderAccessControlExposeHeaders, readable)
	}
	return c.Next()
}

// allowedOrigin is what Access-Control-Allow-Origin says; empty for nothing.
func (e *Edge) allowedOrigin(c *fiber.Ctx) string {
	switch readers := e.limits.readers; {
	case len(e.opts.CORSOrigins) == 0:
		return ""
	case readers.Any():
		return origin.Any
	default:
		c.Vary(fiber.HeaderOrigin) // also without one: a cache must not give that answer to someone with one
		if page := c.Get(fiber.HeaderOrigin); readers.Lists(page) {
			return page
		}
		return ""
	}
}

// preflight answers OPTIONS on a path of the API, be it a browser's question before a request or a plain one.
func (e *Edge) preflight(c *fiber.Ctx) error {
	c.Set(fiber.HeaderAllow, apiMethods)
	if c.GetRespHeader(fiber.HeaderAccessControlAllowOrigin) != "" {
		c.Set(fiber.HeaderAccessControlAllowMethods, apiMethods)
		c.Set(fiber.HeaderAccessControlAllowHeaders, fiber.HeaderIfNoneMatch)
		c.Set(fiber.HeaderAccessControlMaxAge, preflightAge)
	}
	c.Status(fiber.StatusNoContent)
	return nil
}
