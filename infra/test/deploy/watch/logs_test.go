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

// testLogs checks the programs' logs: each line is an object with a component, none has a secret, and the summaries
// exist.
func testLogs(t *testing.T, env *environment) {
	env.edge.Stop(t)
	lines := checkLog(t, env.edge, edge.LogComponents())
	for _, want := range []struct{ message, component, level string }{
		{"client joined", "hub", "DEBUG"}, {"client left", "hub", "DEBUG"}, {"clients", "edge", "INFO"},
	} {
		if !slices.ContainsFunc(lines, func(l map[string]any) bool {
			return l["msg"] == want.message && l["component"] == want.component && l["level"] == want.level
		}) {
			t.Errorf("got no line %v in the edge's log", want)
		}
	}
	for _, p := range env.ingesters {
		lines := checkLog(t, p, ingester.LogComponents())
		if !slices.ContainsFunc(lines, func(l map[string]any) bool {
			price, _ := l["price"].(float64)
			return l["msg"] == "price" && l["component"] == "ingester" && l["status"] == "live" && price > 5000 && price < 6000
		}) {
			t.Error("got no line with the price in an ingester's log")
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
		t.Errorf("got the secret in the log of %s", p.job)
	}
	for text := range strings.Lines(string(text)) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%s: got %v from the line %s", p.job, err, text)
		}
		if component, _ := line["component"].(string); !slices.Contains(components, component) {
			t.Errorf("%s: got a line without a known component: %s", p.job, text)
		}
		lines = append(lines, line)
	}
	return lines
}
