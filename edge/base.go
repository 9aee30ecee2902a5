package edge

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// ownPaths are the first segments of the edge's own paths. A base path must not begin with one of them. /price is not one of
// them: with the base path /price it leads to the dashboard, and the price is at /price/price.
var ownPaths = []string{
	"api", "apple-touch-icon.png", "clock", "embed", "health", "icon-192.png", "icon-512.png", "icon-maskable-512.png", "livez",
	"manifest.webmanifest", "og.png", "readyz", "static", "sw.js", "ws",
}

// checkBasePath accepts an empty path, or segments of letters, digits and -._~ such as /price or /btc/price. These characters
// are never percent-encoded, so the path has one spelling.
func checkBasePath(base string) error {
	if base == "" {
		return nil
	}
	unreserved := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~", r)
	}
	segments := strings.Split(base, "/")
	if segments[0] != "" || slices.ContainsFunc(segments[1:], func(segment string) bool {
		return segment == "" || segment == "." || segment == ".." || strings.TrimFunc(segment, unreserved) != ""
	}) {
		return fmt.Errorf("--base-path %q: want a path such as /price or /btc/price, with a leading and no trailing slash, of letters, digits and -._~", base)
	}
	if slices.Contains(ownPaths, strings.ToLower(segments[1])) {
		return fmt.Errorf("--base-path %q: the edge has paths of its own under /%s, want another name", base, segments[1])
	}
	return nil
}

// mountBase serves everything under --base-path as well as at the root. Headers such as X-Forwarded-Prefix are ignored. Call
// it after countRequests, so that routes are counted without the base path.
func (e *Edge) mountBase(app *fiber.App) {
	base := []byte(e.opts.BasePath)
	if len(base) == 0 {
		return
	}
	server := app.Server()
	handle := server.Handler
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		if rest, ok := bytes.CutPrefix(ctx.URI().PathOriginal(), base); ok && bytes.HasPrefix(rest, []byte("/")) {
			ctx.URI().SetPathBytes(rest)
			ctx.SetUserValue(underBase, true)
		}
		handle(ctx)
	}
}

// underBase is set in the locals of a request whose path began with the base path.
const underBase = "under the base path"

// mountBaseRedirect redirects /btc to /btc/: the page's links are relative, and would otherwise lead to the root. Call it before
// other routes are added: if the base path is /price, the API's /price is at /price/price.
func (e *Edge) mountBaseRedirect(app *fiber.App) {
	base := e.opts.BasePath
	if base == "" {
		return
	}
	app.Get(base, func(c *fiber.Ctx) error {
		if c.Locals(underBase) != nil {
			return c.Next()
		}
		if c.Path() != base { // in another case: mountBase is case-sensitive, Fiber is not
			return fiber.ErrNotFound
		}
		return redirect(c, path.Base(base)+"/")
	})
}

// redirect redirects to a location relative to the request's, which is correct under any path that a proxy strips. It keeps
// the query.
func redirect(c *fiber.Ctx, location string) error {
	if query := c.Request().URI().QueryString(); len(query) > 0 {
		location += "?" + string(query)
	}
	return c.Redirect(location, fiber.StatusPermanentRedirect)
}
