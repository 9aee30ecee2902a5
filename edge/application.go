package edge

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"

	"sightglass/edge/httpapi"
	"sightglass/edge/picture"
)

// mountIcons adds the icons that manifest.webmanifest and the dashboard name. Each is drawn once, for its first request.
func mountIcons(app *fiber.App) {
	for path, draw := range map[string]func() []byte{
		"/icon-192.png":          func() []byte { return picture.Icon(192) },
		"/icon-512.png":          func() []byte { return picture.Icon(512) },
		"/icon-maskable-512.png": func() []byte { return picture.MaskableIcon(512) },
		"/apple-touch-icon.png":  func() []byte { return picture.MaskableIcon(180) }, // Apple's systems cut off the corners
	} {
		response := sync.OnceValue(func() *httpapi.Response { return httpapi.NewPNG(draw(), "public, max-age=86400") })
		app.Get(path, setPagePolicy, func(c *fiber.Ctx) error { return response().Send(c) })
	}
}

// serviceWorker returns sw.js with its first line: the pages and the files that they load, relative to the worker's scope,
// and a hash of them. Browsers install the worker again whenever one of them has changed.
func serviceWorker(bodies map[string][]byte) []byte {
	shell := struct {
		Version string   `json:"version"`
		Files   []string `json:"files"`
	}{Files: []string{"", "clock", "embed"}}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		isLoaded := strings.HasPrefix(name, "/static/") && !strings.HasSuffix(name, ".d.ts") && !strings.HasSuffix(name, ".txt")
		if isLoaded {
			shell.Files = append(shell.Files, strings.TrimPrefix(name, "/"))
		}
		if isLoaded || strings.HasSuffix(name, ".html") {
			fmt.Fprintf(sum, "%s %d\n%s", name, len(bodies[name]), bodies[name])
		}
	}
	shell.Version = hex.EncodeToString(sum.Sum(nil)[:8])
	line, err := json.Marshal(shell)
	if err != nil {
		panic(err) // unreachable: it has only strings
	}
	return fmt.Appendf(nil, "self.shell = %s;\n%s", line, bodies["/sw.js"])
}

// checkPublicURL accepts an empty URL, or an absolute one of the dashboard.
func checkPublicURL(public string) error {
	if public == "" {
		return nil
	}
	u, err := url.Parse(public)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.ContainsAny(public, "?# ") || !isPort(u.Port()) {
		return fmt.Errorf("--public-url %q: want the dashboard's URL, such as https://example.org/price, without a query", public)
	}
	return nil
}

// isPort reports whether a port is absent or valid.
func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// withPublicURL returns the dashboard with absolute URLs in the metadata for previews of links, which are relative in the file:
// most programs that show previews do not resolve them. Without a public URL it returns the file.
func withPublicURL(page []byte, public string) []byte {
	if public == "" {
		return page
	}
	base := html.EscapeString(strings.TrimSuffix(public, "/") + "/")
	return []byte(strings.NewReplacer(
		`property="og:url" content="./"`, `property="og:url" content="`+base+`"`,
		`property="og:image" content="og.png"`, `property="og:image" content="`+base+`og.png"`,
	).Replace(string(page)))
}
