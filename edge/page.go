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
	files := readFiles(web.Files())
	app.Get("/", redirectTrailingSlash, setPagePolicy, files["/index.html"].Send)
	app.Get("/clock", redirectTrailingSlash, setPagePolicy, files["/clock.html"].Send)
	app.Get("/embed", redirectTrailingSlash, setPagePolicy, allowFraming, files["/embed.html"].Send)
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

// readFiles returns a response for each file, by path. The files are embedded, so reading them cannot fail.
func readFiles(files fs.FS) map[string]*httpapi.Response {
	responses := make(map[string]*httpapi.Response)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, name)
		responses["/"+name] = httpapi.NewResponse(body, utils.GetMIME(path.Ext(name))+"; charset=utf-8", "no-cache")
		return err
	})
	if err != nil {
		panic(err)
	}
	return responses
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
