package edge

import (
	"slices"
	"strings"
	"testing"
)

func TestOptions_BasePath(t *testing.T) {
	for base, good := range map[string]bool{
		"": true, "/price": true, "/btc/price": true, "/~me/v1.0_a-b": true, "/API2": true,
		"/": false, "price": false, "/price/": false, "//price": false, "/btc//price": false, "/./price": false, "/..": false,
		"/pr ice": false, "/prïce": false, "/pr%69ce": false, "/:price": false, "/*": false, "/price?a": false, "/price\n": false,
		"https://example.org/price": false, "/api": false, "/static/price": false, "/Clock": false,
	} {
		t.Run(base, func(t *testing.T) {
			o := Defaults()
			o.BasePath = base
			err := o.Validate()
			if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "--base-path") {
				t.Errorf("%q: got %v, want accepted %v", base, err, good)
			}
		})
	}
}

// TestOwnPaths_CoverEveryRoute: otherwise a base path could hide a route. /price may be a base path.
func TestOwnPaths_CoverEveryRoute(t *testing.T) {
	var got []string
	for _, route := range unstarted(t).app.GetRoutes(true) {
		if first := strings.Split(route.Path, "/")[1]; first != "" && first != "price" {
			got = append(got, first)
		}
	}
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, ownPaths) {
		t.Errorf("got routes under %v, want those of ownPaths %v", got, ownPaths)
	}
}
