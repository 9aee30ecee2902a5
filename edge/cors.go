package edge

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
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
	switch origins := e.opts.CORSOrigins; {
	case len(origins) == 0:
		return ""
	case slices.Contains(origins, "*"):
		return "*"
	default:
		c.Vary(fiber.HeaderOrigin) // also without one: a cache must not give that answer to someone with one
		if origin := c.Get(fiber.HeaderOrigin); slices.Contains(origins, origin) {
			return origin
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

// checkOrigins accepts *, or origins as browsers send them.
func checkOrigins(name string, origins []string) error {
	for _, origin := range origins {
		if origin == "*" && len(origins) == 1 {
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
			u.Scheme+"://"+strings.ToLower(u.Host) != origin {
			return fmt.Errorf("--%s %q: want * alone, or origins such as https://example.com (no path, no trailing slash)",
				name, origin)
		}
	}
	return nil
}
