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

// ownPaths are the first segments of the edge's own paths. A base path must begin with another.
var ownPaths = []string{"api", "clock", "embed", "health", "livez", "readyz", "static", "ws"}

// checkBasePath accepts nothing, or segments of letters, digits and -._~ such as /price or /btc/price. Those characters
// are never percent-encoded, so the path has one spelling.
func checkBasePath(base string) error {
	if base == "" {
		return nil
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~", r)
	}
	segments := strings.Split(base, "/")
	if segments[0] != "" || slices.ContainsFunc(segments[1:], func(segment string) bool {
		return segment == "" || segment == "." || segment == ".." || strings.TrimFunc(segment, plain) != ""
	}) {
		return fmt.Errorf("--base-path %q: want a path such as /price or /btc/price: it begins with a slash, ends with none, and has letters, digits and -._~", base)
	}
	if slices.Contains(ownPaths, strings.ToLower(segments[1])) {
		return fmt.Errorf("--base-path %q: the edge itself has paths under /%s, want another name", base, segments[1])
	}
	return nil
}

// mountBase serves everything under --base-path as well as at the root. Nothing that a request says, such as
// X-Forwarded-Prefix, has a part in it. It comes after countRequests, so that routes are counted without the base path.
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
		}
		handle(ctx)
	}
}

// mountBaseRedirect sends /price to /price/: what the page refers to is relative, and would be looked for at the root.
func (e *Edge) mountBaseRedirect(app *fiber.App) {
	base := e.opts.BasePath
	if base == "" {
		return
	}
	app.Get(base, func(c *fiber.Ctx) error {
		if c.Path() != base { // in other letters, which mountBase does not know
			return fiber.ErrNotFound
		}
		return redirect(c, path.Base(base)+"/")
	})
}

// redirect answers with a place relative to that of the request, which is right under any path that a proxy has taken
// away. It keeps the query.
func redirect(c *fiber.Ctx, location string) error {
	if query := c.Request().URI().QueryString(); len(query) > 0 {
		location += "?" + string(query)
	}
	return c.Redirect(location, fiber.StatusPermanentRedirect)
}
