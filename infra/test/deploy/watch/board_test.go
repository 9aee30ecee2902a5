//go:build deploy

package watch

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"sightglass/infra/test/internal/programs"
)

// A board has the checked fields of Grafana's JSON.
type board struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
	Annotations struct{ List []struct{ Expr string } }
	Panels      []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               *struct{ Type, UID string }
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct{ RefID, Expr, LegendFormat string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
}

func (p panel) overlaps(q panel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

func readBoard(t *testing.T) (b board) {
	t.Helper()
	if err := json.Unmarshal([]byte(readFile(t, "infra/grafana/sightglass.json")), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// units are the Grafana units that the board may use: base units, or none.
var units = map[string]bool{
	"s": true, "bytes": true, "Bps": true, "ops": true, "reqps": true, "percentunit": true, "currencyUSD": true, "short": true,
}

func TestBoard_IsWellFormed(t *testing.T) {
	b := readBoard(t)
	if b.SchemaVersion < 39 || b.UID == "" || b.Title == "" || len(b.Panels) < 30 {
		t.Errorf("got board %q %q of schema %d with %d panels, want a title and more", b.UID, b.Title, b.SchemaVersion, len(b.Panels))
	}
	ids, titles, section := make(map[int]bool), make(map[string]bool), ""
	for i, p := range b.Panels {
		if ids[p.ID] {
			t.Errorf("%s: got a repeated id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for _, q := range b.Panels[:i] {
			if p.overlaps(q) {
				t.Errorf("%s: got an overlap with %s", p.Title, q.Title)
			}
		}
		if p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: got position %v, want it on the grid", p.Title, p.GridPos)
		}
		if p.Type == "row" {
			section = p.Title
			continue
		}
		if key := section + " " + p.Type + " " + p.Title; titles[key] {
			t.Errorf("got two panels %s", key)
		} else {
			titles[key] = true
		}
		if p.Title == "" || p.Description == "" || !units[p.FieldConfig.Defaults.Unit] || p.Datasource == nil || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: got no description, unit or datasource variable, want all", p.Title)
		}
		refs := make(map[string]bool)
		for _, target := range p.Targets {
			if refs[target.RefID] || target.LegendFormat == "" && p.Type != "table" {
				t.Errorf("%s: %s: got a repeated RefID or no legend", p.Title, target.Expr)
			}
			refs[target.RefID] = true
		}
		if len(p.Targets) == 0 {
			t.Errorf("%s: got no expression", p.Title)
		}
	}
}

// TestBoard_IsProvisioned: the provisioned file is the same as the one to import.
func TestBoard_IsProvisioned(t *testing.T) {
	imported, err := os.Stat(repo(t, "infra/grafana/sightglass.json"))
	if err != nil {
		t.Fatal(err)
	}
	provisioned, err := os.Stat(repo(t, "infra/grafana/provisioning/dashboards/sightglass.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(imported, provisioned) {
		t.Error("got two files, want one")
	}
}

// names matches the metrics in an expression or a variable.
var names = regexp.MustCompile(`\b(?:sightglass|process|go)_[a-z_0-9]+`)

// filled replaces the board's variables with values.
var filled = strings.NewReplacer("$__rate_interval", "4s", "$ingester", ".+", "$edge", ".+")

// testBoard: each metric of the board exists, and each expression has a value.
func testBoard(t *testing.T, env *environment) {
	b := readBoard(t)
	known := env.known(t)
	asked := 0
	for _, p := range b.Panels {
		for _, target := range p.Targets {
			env.mustKnow(t, known, p.Title, target.Expr)
			expr := filled.Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s: got an unknown variable in %s", p.Title, expr)
				continue
			}
			if strings.HasSuffix(expr, "< 1e18") { // a memory limit, which these programs do not have
				env.prometheus.query(t, expr)
				continue
			}
			programs.Until(t, p.Title+": a value of "+expr, func() bool { return len(env.prometheus.query(t, expr)) > 0 })
			asked++
		}
	}
	for _, a := range b.Annotations.List {
		env.mustKnow(t, known, "annotation", a.Expr)
		env.prometheus.query(t, filled.Replace(a.Expr))
	}
	for _, v := range b.Templating.List {
		if v.Type == "query" {
			env.mustKnow(t, known, "variable "+v.Name, v.Definition)
		}
	}
	for name := range known {
		if strings.HasPrefix(name, "sightglass_") && !strings.Contains(readFile(t, "infra/grafana/sightglass.json"), name) {
			t.Errorf("got no %s on the board", name)
		}
	}
	if asked < 60 {
		t.Errorf("got %d expressions, want 60 or more", asked)
	}
}

// known returns the names of all metrics of all programs.
func (env *environment) known(t *testing.T) map[string]bool {
	t.Helper()
	known := make(map[string]bool)
	for _, p := range env.programs() {
		for name := range metricsOf(t, p) {
			known[name] = true
		}
	}
	return known
}

// mustKnow fails if an expression has an unknown metric, or none.
func (env *environment) mustKnow(t *testing.T, known map[string]bool, where, expr string) {
	t.Helper()
	found := names.FindAllString(expr, -1)
	if len(found) == 0 && !strings.Contains(expr, "up{") {
		t.Errorf("%s: got no metric in %s", where, expr)
	}
	for _, name := range found {
		if !known[name] && !known[suffix.ReplaceAllString(name, "")] {
			t.Errorf("%s: got an unknown metric %s", where, name)
		}
	}
}
