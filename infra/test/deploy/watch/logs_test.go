//go:build deploy

package watch

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"sightglass/edge"
	"sightglass/ingester"
)

// testLogs reads what the programs have written: each line is an object that says its component, none holds a secret,
// and the sums are there.
func testLogs(t *testing.T, env *environment) {
	env.edge.Stop(t)
	lines := checkLog(t, env.edge, edge.LogComponents())
	for _, want := range []struct{ message, component, level string }{
		{"client joined", "hub", "DEBUG"}, {"client left", "hub", "DEBUG"}, {"clients", "edge", "INFO"},
	} {
		if !slices.ContainsFunc(lines, func(l map[string]any) bool {
			return l["msg"] == want.message && l["component"] == want.component && l["level"] == want.level
		}) {
			t.Errorf("the edge's log lacks a line %v", want)
		}
	}
	for _, p := range env.ingesters {
		lines := checkLog(t, p, ingester.LogComponents())
		if !slices.ContainsFunc(lines, func(l map[string]any) bool {
			price, _ := l["price"].(float64)
			return l["msg"] == "price" && l["component"] == "ingester" && l["status"] == "live" && price > 5000 && price < 6000
		}) {
			t.Error("an ingester's log lacks a line with the price")
		}
	}
}

func checkLog(t *testing.T, p program, components []string) (lines []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), secret) {
		t.Errorf("the log of %s holds the secret", p.job)
	}
	for text := range strings.Lines(string(text)) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%s: %v: %s", p.job, err, text)
		}
		if component, _ := line["component"].(string); !slices.Contains(components, component) {
			t.Errorf("%s: a line of no component: %s", p.job, text)
		}
		lines = append(lines, line)
	}
	return lines
}
