package edge

import (
	"io/fs"
	"path"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"sightglass/edge/httpapi"
	"sightglass/edge/web"
)

// mountPage adds the pages and their files.
func (e *Edge) mountPage(app *fiber.App) {
	files := readFiles(web.Files())
	app.Get("/", securePage, files["/index.html"].Send)
	app.Get("/clock", securePage, files["/clock.html"].Send)
	app.Get("/embed", securePage, framable, files["/embed.html"].Send)
	app.Use(web.Client, e.cors, importable)
	app.Get("/static/*", securePage, func(c *fiber.Ctx) error {
		if file := files[c.Path()]; file != nil {
			return file.Send(c)
		}
		return fiber.ErrNotFound
	})
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
