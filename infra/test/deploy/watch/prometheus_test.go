//go:build deploy

package watch

import (
	"encoding/json"
	"net/url"
	"os/exec"
	"strings"
	"testing"
)

// A server is the URL of a Prometheus.
type server string

// ask decodes the data of an API response. It fails the test on an API error.
func (s server) ask(t testing.TB, path string, into any) {
	t.Helper()
	body := fetch(t, string(s)+path)
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s: %v: %s", path, err, body)
	}
	if answer.Status != "success" {
		t.Fatalf("%s: %s", path, answer.Error)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		t.Fatalf("%s: %v: %s", path, err, answer.Data)
	}
}

// query returns the current series of an expression.
func (s server) query(t testing.TB, expr string) []json.RawMessage {
	t.Helper()
	var data struct{ Result []json.RawMessage }
	s.ask(t, "/api/v1/query?query="+url.QueryEscape(expr), &data)
	return data.Result
}

// An alert is one of our rules.
type alert struct {
	Name, Query, Health, LastError string
	Labels, Annotations            map[string]string
	Alerts                         []struct{ State string }
}

func (s server) alerts(t testing.TB) (all []alert) {
	t.Helper()
	var data struct{ Groups []struct{ Rules []alert } }
	s.ask(t, "/api/v1/rules?type=alert", &data)
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// promtool runs promtool in a folder of the repository, and fails the test on an error.
func promtool(t testing.TB, dir, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Dir, cmd.Stdin = repo(t, dir), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: got %v, want success:\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPrometheusFiles_PassPromtool(t *testing.T) {
	const dir = "infra/prometheus"
	promtool(t, dir, "", "check", "config", "prometheus.yml")
	promtool(t, dir, "", "check", "rules", "alerts.yml")
	promtool(t, dir, "", "test", "rules", "alerts_test.yml")
}
