//go:build deploy

package watch

import (
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sightglass/infra/test/internal/programs"
)

// testAlerts: each metric of an alert exists, no alert is active while all programs work, and alerts fire when both
// ingesters are killed.
func testAlerts(t *testing.T, env *environment) {
	known, all := env.known(t), env.prometheus.alerts(t)
	if len(all) < 15 {
		t.Fatalf("got %d alerts, want 15 or more", len(all))
	}
	sections := headings(t, "docs/alerts.md")
	for _, a := range all {
		env.mustKnow(t, known, a.Name, a.Query)
		env.prometheus.query(t, a.Query)
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: got severity %q, want critical, warning or info", a.Name, a.Labels["severity"])
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s: got no summary or no description, want both", a.Name)
		}
		if want := "docs/alerts.md#" + strings.ToLower(a.Name); a.Annotations["runbook_url"] != want {
			t.Errorf("%s: got runbook_url %s, want %s", a.Name, a.Annotations["runbook_url"], want)
		}
		if !sections[a.Name] {
			t.Errorf("got no section ## %s in docs/alerts.md", a.Name)
		}
		delete(sections, a.Name)
	}
	for name := range sections {
		if strings.HasPrefix(name, "Sightglass") {
			t.Errorf("docs/alerts.md: got a section of an unknown alert %s", name)
		}
	}
	bothWays(t, all)

	programs.Until(t, "all alerts to be evaluated and none to be active", func() bool {
		for _, a := range env.prometheus.alerts(t) {
			if a.Health == "err" {
				t.Fatalf("%s: got error %s", a.Name, a.LastError)
			}
			if a.Health != "ok" || len(a.Alerts) > 0 {
				return false
			}
		}
		return true
	})
	for _, p := range env.ingesters {
		p.Signal(t, syscall.SIGKILL)
	}
	for _, name := range []string{"SightglassNoLeader", "SightglassInstanceDown", "SightglassNoSnapshots"} {
		programs.Until(t, name, func() bool { return env.isActive(t, name) })
	}
}

func (env *environment) isActive(t *testing.T, name string) bool {
	t.Helper()
	for _, a := range env.prometheus.alerts(t) {
		if a.Name == name {
			return len(a.Alerts) > 0
		}
	}
	return false
}

func headings(t *testing.T, path string) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	for line := range strings.Lines(readFile(t, path)) {
		if title, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
			all[title] = true
		}
	}
	return all
}

var expectation = regexp.MustCompile(`alertname: (\w+)\n\s+exp_alerts:(.*)\n`)

// bothWays fails for an alert for which alerts_test.yml does not have both a firing and a quiet case.
func bothWays(t *testing.T, all []alert) {
	t.Helper()
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, e := range expectation.FindAllStringSubmatch(readFile(t, "infra/prometheus/alerts_test.yml"), -1) {
		if strings.TrimSpace(e[2]) == "[]" {
			quiet[e[1]] = true
		} else {
			fires[e[1]] = true
		}
	}
	for _, a := range all {
		if !fires[a.Name] || !quiet[a.Name] {
			t.Errorf("alerts_test.yml: %s: got a firing case: %v, a quiet case: %v, want both", a.Name, fires[a.Name], quiet[a.Name])
		}
	}
}
