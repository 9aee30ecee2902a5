package edge

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"sightglass/edge/web"
)

// mountPage adds the dashboard and its files.
func (e *Edge) mountPage(app *fiber.App) {
	files := readFiles(web.Files())
	app.Get("/", securePage, files["/index.html"].send)
	app.Get("/static/*", securePage, func(c *fiber.Ctx) error {
		if file := files[c.Path()]; file != nil {
			return file.send(c)
		}
		return fiber.ErrNotFound
	})
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
