package edge

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"sightglass/edge/web"
)

// mountPage adds the pages and their files.
func (e *Edge) mountPage(app *fiber.App) {
	files := readFiles(web.Files())
	app.Get("/", unslashed, securePage, files["/index.html"].send)
	app.Get("/clock", unslashed, securePage, files["/clock.html"].send)
	app.Get("/embed", unslashed, securePage, framable, files["/embed.html"].send)
	app.Use(web.Client, e.cors, importable)
	app.Get("/static/*", securePage, func(c *fiber.Ctx) error {
		if file := files[c.Path()]; file != nil {
			return file.send(c)
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

// readFiles makes each file an answer, by its path. They are embedded, so reading them cannot fail.
func readFiles(files fs.FS) map[string]*answer {
	answers := make(map[string]*answer)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, name)
		answers["/"+name] = fixed(body, utils.GetMIME(path.Ext(name))+"; charset=utf-8", "no-cache")
		return err
	})
	if err != nil {
		panic(err)
	}
	return answers
}

// fixed is an answer that never changes while this program runs. Its tag comes from what it says, so it is the same on
// each edge.
func fixed(body []byte, contentType, cacheControl string) *answer {
	sum := sha256.Sum256(body)
	return &answer{
		tag: hex.EncodeToString(sum[:8]), contentType: contentType, cacheControl: cacheControl, body: body,
	}
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
