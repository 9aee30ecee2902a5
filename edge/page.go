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

// mountPage adds the pages and their files.
func (e *Edge) mountPage(app *fiber.App) {
	files := readFiles(web.Files())
	app.Get("/", unslashed, securePage, files["/index.html"].Send)
	app.Get("/clock", unslashed, securePage, files["/clock.html"].Send)
	app.Get("/embed", unslashed, securePage, framable, files["/embed.html"].Send)
	app.Use(web.Client, e.cors, importable)
	app.Get("/static/*", securePage, func(c *fiber.Ctx) error {
		if file := files[c.Path()]; file != nil {
			return file.Send(c)
		}
		return fiber.ErrNotFound
	})
}

// unslashed sends /clock/, which Fiber takes for /clock, there: what a page refers to is relative to its path, and under
// /clock/ there is nothing.
func unslashed(c *fiber.Ctx) error {
	if path := c.Path(); path != "/" && strings.HasSuffix(path, "/") {
		return redirect(c, "../"+strings.Trim(path, "/"))
	}
	return c.Next()
}

// readFiles makes each file a response, by its path. They are embedded, so reading them cannot fail.
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

func securePage(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentSecurityPolicy, web.ContentSecurityPolicy)
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	return c.Next()
}

// framable lets any page frame the answer, also one with Cross-Origin-Embedder-Policy: require-corp, which wants the same
// of what it frames.
func framable(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentSecurityPolicy, web.EmbedPolicy)
	c.Set("Cross-Origin-Embedder-Policy", "require-corp")
	return importable(c)
}

// importable lets pages of other origins load the answer; what they may read of it is for CORS to say.
func importable(c *fiber.Ctx) error {
	c.Set("Cross-Origin-Resource-Policy", "cross-origin")
	return c.Next()
}
