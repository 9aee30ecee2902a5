package edge

import (
	"io/fs"
	"path"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"sightglass/edge/httpapi"
	"sightglass/edge/web"
)

// mountPage adds the pages and their static files.
func (e *Edge) mountPage(app *fiber.App) {
	bodies := readFiles(web.Files())
	bodies["/index.html"] = withPublicURL(bodies["/index.html"], e.opts.PublicURL)
	bodies["/sw.js"] = serviceWorker(bodies)
	files := responses(bodies)
	app.Get("/", redirectTrailingSlash, setPagePolicy, files["/index.html"].Send)
	app.Get("/clock", redirectTrailingSlash, setPagePolicy, files["/clock.html"].Send)
	app.Get("/embed", redirectTrailingSlash, setPagePolicy, allowFraming, files["/embed.html"].Send)
	app.Get("/manifest.webmanifest", setPagePolicy, files["/manifest.webmanifest"].Send)
	app.Get("/sw.js", setPagePolicy, files["/sw.js"].Send) // beside the pages: a worker is in charge of the paths below its own
	mountIcons(app)
	app.Use(web.Client, e.cors, allowCrossOriginUse)
	app.Get("/static/*", setPagePolicy, func(c *fiber.Ctx) error {
		if file := files[c.Path()]; file != nil {
			return file.Send(c)
		}
		return fiber.ErrNotFound
	})
}

// redirectTrailingSlash redirects /clock/, which Fiber routes like /clock, to /clock: the page's links are relative, and would
// lead to paths under /clock/.
func redirectTrailingSlash(c *fiber.Ctx) error {
	if path := c.Path(); path != "/" && strings.HasSuffix(path, "/") {
		return redirect(c, "../"+strings.Trim(path, "/"))
	}
	return c.Next()
}

// readFiles returns the files' contents, by path. The files are embedded, so reading them cannot fail.
func readFiles(files fs.FS) map[string][]byte {
	bodies := make(map[string][]byte)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		bodies["/"+name], err = fs.ReadFile(files, name)
		return err
	})
	if err != nil {
		panic(err)
	}
	return bodies
}

// responses returns a response for each file.
func responses(bodies map[string][]byte) map[string]*httpapi.Response {
	all := make(map[string]*httpapi.Response, len(bodies))
	for name, body := range bodies {
		all[name] = httpapi.NewResponse(body, mimeOf(name), "no-cache")
	}
	return all
}

// mimeOf returns the Content-Type of a text file.
func mimeOf(name string) string {
	if path.Ext(name) == ".webmanifest" { // Fiber does not know it
		return "application/manifest+json"
	}
	return utils.GetMIME(path.Ext(name)) + "; charset=utf-8"
}

// setPagePolicy sets the Content-Security-Policy and sends no Referrer.
func setPagePolicy(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentSecurityPolicy, web.ContentSecurityPolicy)
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	return c.Next()
}

// allowFraming lets any page frame the response, including pages with Cross-Origin-Embedder-Policy: require-corp, which
// require the same header from frames.
func allowFraming(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentSecurityPolicy, web.EmbedPolicy)
	c.Set("Cross-Origin-Embedder-Policy", "require-corp")
	return allowCrossOriginUse(c)
}

// allowCrossOriginUse lets pages of other origins load the response. CORS decides whether they may read it.
func allowCrossOriginUse(c *fiber.Ctx) error {
	c.Set("Cross-Origin-Resource-Policy", "cross-origin")
	return c.Next()
}
