package edge

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"sightglass/edge/spec"
)

// TestRoutes_MatchOpenAPIDocument: each route is described, and each described route exists. HEAD is implied by GET.
func TestRoutes_MatchOpenAPIDocument(t *testing.T) {
	e := unstarted(t)
	got, want := make(map[string]bool), described(t)
	for _, route := range e.app.GetRoutes(true) {
		if route.Method != fiber.MethodHead {
			got[strings.ToLower(route.Method)+" "+strings.Replace(route.Path, "*", "{file}", 1)] = true
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("got routes %v\nwant openapi.json's %v", sorted(got), sorted(want))
	}
}

// unstarted returns an edge that does not run.
func unstarted(t *testing.T) *Edge {
	t.Helper()
	o := Defaults()
	o.Listen, o.Log = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(e.public.Close(), e.redis.Close()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// described returns the methods and paths of openapi.json.
func described(t *testing.T) map[string]bool {
	t.Helper()
	var document struct {
		Paths map[string]map[string]any
	}
	if err := json.Unmarshal(spec.OpenAPI, &document); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	for path, methods := range document.Paths {
		for method := range methods {
			all[method+" "+path] = true
		}
	}
	return all
}

func sorted(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

func TestOptions_CORSOrigins(t *testing.T) {
	for name, c := range map[string]struct {
		origins []string
		good    bool
	}{
		"any":             {[]string{"*"}, true},
		"none":            {nil, true},
		"some":            {[]string{"https://example.com", "http://localhost:3000"}, true},
		"a slash":         {[]string{"https://example.com/"}, false},
		"a path":          {[]string{"https://example.com/page"}, false},
		"no scheme":       {[]string{"example.com"}, false},
		"another scheme":  {[]string{"ftp://example.com"}, false},
		"any and another": {[]string{"*", "https://example.com"}, false},
		"part of a name":  {[]string{"*.example.com"}, false},
		"an empty one":    {[]string{""}, false},
		"null":            {[]string{"null"}, true},
		"applications":    {[]string{"tauri://localhost", "chrome-extension://abcdefgh", "file://"}, true},
		"upper case":      {[]string{"https://Example.com"}, true}, // as --allowed-origins
		"a user":          {[]string{"https://me@example.com"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := Defaults()
			o.CORSOrigins = c.origins
			err := o.Validate()
			if (err == nil) != c.good || err != nil && !strings.Contains(err.Error(), "--cors-origins") {
				t.Errorf("%v: got %v, want accepted %v", c.origins, err, c.good)
			}
		})
	}
}
