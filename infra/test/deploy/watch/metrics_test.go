//go:build deploy

package watch

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A metric has the fields of a program's metric that docs/metrics.md repeats.
type metric struct{ kind, labels, help string }

func (m metric) row(name string) string {
	return fmt.Sprintf("| `%s` | %s | %s | %s |", name, m.kind, m.labels, m.help)
}

var (
	labelBlock = regexp.MustCompile(`^([a-z_:0-9]+)\{(.*)\} `)
	labelName  = regexp.MustCompile(`([a-zA-Z_]+)="(?:[^"\\]|\\.)*"`)
	suffix     = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// metricsOf returns a program's metrics by name, after a check by promtool.
func metricsOf(t *testing.T, p program) map[string]metric {
	t.Helper()
	text := fetch(t, "http://"+p.internal+"/metrics")
	promtool(t, ".", text, "check", "metrics")
	all := make(map[string]metric)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			all[name] = metric{help: help}
		} else if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			m := all[name]
			m.kind = kind
			all[name] = m
		} else if block := labelBlock.FindStringSubmatch(line); block != nil {
			name := block[1]
			if _, ok := all[name]; !ok {
				name = suffix.ReplaceAllString(name, "")
			}
			m := all[name]
			m.labels = labelsOf(block[2])
			all[name] = m
		}
	}
	return all
}

func labelsOf(block string) string {
	var names []string
	for _, l := range labelName.FindAllStringSubmatch(block, -1) {
		if l[1] != "le" { // every histogram has it
			names = append(names, l[1])
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// ours omits the metrics of the Go runtime and the process.
func ours(all map[string]metric) map[string]metric {
	all = maps.Clone(all)
	maps.DeleteFunc(all, func(name string, _ metric) bool { return !strings.HasPrefix(name, "sightglass_") })
	return all
}

// testMetrics: docs/metrics.md has exactly the programs' metrics, with their types, labels and help texts.
func testMetrics(t *testing.T, env *environment) {
	have := map[string]map[string]metric{
		"ingester": ours(metricsOf(t, env.ingesters[0])), "edge": ours(metricsOf(t, env.edge)), "both": {},
	}
	for name, m := range have["ingester"] {
		if e, ok := have["edge"][name]; ok {
			if e != m {
				t.Errorf("%s: got %v from the ingester and %v from the edge, want the same", name, m, e)
			}
			have["both"][name] = m
			delete(have["ingester"], name)
			delete(have["edge"], name)
		}
	}
	docs := documented(t)
	for _, where := range []string{"both", "ingester", "edge"} {
		for _, name := range slices.Sorted(maps.Keys(have[where])) {
			if want := have[where][name].row(name); docs[where][name] != want {
				t.Errorf("docs/metrics.md, %s: got\n%s\nwant\n%s", where, docs[where][name], want)
			}
			delete(docs[where], name)
		}
		for name := range docs[where] {
			t.Errorf("docs/metrics.md, %s: got an unknown metric %s", where, name)
		}
	}
	if len(have["ingester"]) < 40 || len(have["edge"]) < 30 {
		t.Errorf("got %d metrics of the ingester and %d of the edge, want more", len(have["ingester"]), len(have["edge"]))
	}
}

var row = regexp.MustCompile("^\\| `(sightglass_[a-z_]+)` \\|")

// documented returns the rows of docs/metrics.md by section and name.
func documented(t *testing.T) map[string]map[string]string {
	t.Helper()
	docs := make(map[string]map[string]string)
	section := ""
	for line := range strings.Lines(readFile(t, "docs/metrics.md")) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.ToLower(title)
			docs[section] = make(map[string]string)
		}
		if m := row.FindStringSubmatch(line); m != nil {
			docs[section][m[1]] = line
		}
	}
	return docs
}
