package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"sightglass/edge"
)

func unmarshal(t testing.TB, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// sameShape fails unless got has exactly the keys of want, with values of the same types, at every depth.
func sameShape(t testing.TB, at string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprintf("%T", got), fmt.Sprintf("%T", want); g != w {
		t.Errorf("%s: got a %s, want a %s", at, g, w)
		return
	}
	switch want := want.(type) {
	case map[string]any:
		got := got.(map[string]any)
		if !slices.Equal(sortedKeys(got), sortedKeys(want)) {
			t.Errorf("%s: got keys %v, want %v", at, sortedKeys(got), sortedKeys(want))
			return
		}
		for key := range want {
			sameShape(t, at+"."+key, got[key], want[key])
		}
	case []any:
		for i, item := range got.([]any) {
			sameShape(t, fmt.Sprintf("%s[%d]", at, i), item, want[0])
		}
	}
}

// request sends a request to an edge and discards the body.
func request(t testing.TB, method string, e *edge.Edge, path string, header http.Header) *http.Response {
	t.Helper()
	ask, err := http.NewRequestWithContext(t.Context(), method, "http://"+e.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.URL.Opaque = "//" + ask.URL.Host + path // unmodified, not cleaned
	ask.Header = header
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer
}
