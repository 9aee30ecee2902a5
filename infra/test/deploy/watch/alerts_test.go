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

// testAlerts: each metric that an alert names is there, nothing is wrong while all is well, and when both ingesters die
// it is said.
func testAlerts(t *testing.T, env *environment) {
	known, all := env.known(t), env.prometheus.alerts(t)
	if len(all) < 15 {
		t.Fatalf("only %d alerts", len(all))
	}
	sections := headings(t, "docs/alerts.md")
	for _, a := range all {
		env.mustKnow(t, known, a.Name, a.Query)
		env.prometheus.query(t, a.Query)
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: severity %q", a.Name, a.Labels["severity"])
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s: no summary or no description", a.Name)
		}
		if want := "docs/alerts.md#" + strings.ToLower(a.Name); a.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %s, want %s", a.Name, a.Annotations["runbook_url"], want)
		}
		if !sections[a.Name] {
			t.Errorf("docs/alerts.md has no section ## %s", a.Name)
		}
		delete(sections, a.Name)
	}
	for name := range sections {
		if strings.HasPrefix(name, "Sightglass") {
			t.Errorf("docs/alerts.md: there is no alert %s", name)
		}
	}
	bothWays(t, all)

	programs.Until(t, "all alerts to be looked at and none to be active", func() bool {
		for _, a := range env.prometheus.alerts(t) {
			if a.Health == "err" {
				t.Fatalf("%s: %s", a.Name, a.LastError)
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

// bothWays fails for an alert that promtool is not told to see come, and stay away.
func bothWays(t *testing.T, all []alert) {
	t.Helper()
	comes, stays := make(map[string]bool), make(map[string]bool)
	for _, e := range expectation.FindAllStringSubmatch(readFile(t, "infra/prometheus/alerts_test.yml"), -1) {
		if strings.TrimSpace(e[2]) == "[]" {
			stays[e[1]] = true
		} else {
			comes[e[1]] = true
		}
	}
	for _, a := range all {
		if !comes[a.Name] || !stays[a.Name] {
			t.Errorf("alerts_test.yml: %s is not seen to come (%v) or to stay away (%v)", a.Name, comes[a.Name], stays[a.Name])
		}
	}
}
