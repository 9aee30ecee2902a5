//go:build deploy

package release

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// url is what the text form of govulncheck needs of a vulnerability.
const url = `"database_specific":{"url":"https://pkg.go.dev/vuln/GO-2026-9999"},`

// TestVuln_Verdicts: govulncheck itself, with databases that know something or nothing, and without a way to the public one.
func TestVuln_Verdicts(t *testing.T) {
	program, broken := t.TempDir(), t.TempDir()
	module := map[string]string{
		"go.mod":  "module example.org/tiny\n\ngo 1.26.0\n",
		"main.go": "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println() }\n",
	}
	files(t, program, module)
	module["main.go"] += "nonsense\n"
	files(t, broken, module)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	for name, c := range map[string]struct {
		module string
		env    string
		says   string
		fails  bool
	}{
		"nothing is known":        {program, "GOVULNDB=file://" + database(t, "", url), "nothing is known", false},
		"a vulnerability":         {program, "GOVULNDB=file://" + database(t, "fmt", url), "Your code is affected by 1 vulnerability", true},
		"one that is not used":    {program, "GOVULNDB=file://" + database(t, "net/http", url), "nothing is known", false},
		"one that it cannot read": {program, "GOVULNDB=file://" + database(t, "fmt", ""), program + ": failed", true}, // it panics
		"no way there":            {program, "HTTPS_PROXY=http://" + closed.Addr().String(), "database not reached, not checked: " + program, false},
		"a proxy that refuses":    {program, "HTTPS_PROXY=" + refusing.URL, "database not reached, not checked: " + program, false},
		"a wrong certificate":     {program, "HTTPS_PROXY=" + impostor(t), "certificate", true},
		"no such database":        {program, "GOVULNDB=http://" + closed.Addr().String(), "failed", true},
		"it does not compile":     {broken, "GOVULNDB=file://" + database(t, "", url), "nonsense", true},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(filepath.Join(repository(t), "infra/release/vuln"), tool(t, "govulncheck"), c.module)
			cmd.Env = append(os.Environ(), c.env, "NO_PROXY=")
			out, err := cmd.CombinedOutput()
			if _, failed := errors.AsType[*exec.ExitError](err); failed != c.fails || !strings.Contains(string(out), c.says) {
				t.Errorf("%v, want failure %v and %q:\n%s", err, c.fails, c.says, out)
			}
		})
	}
}

// impostor is a proxy that leads to a server of its own, whoever was asked for.
func impostor(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // whoever is deceived complains
	server.StartTLS()
	t.Cleanup(server.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		there, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n") //nolint:errcheck // its reader would fail
		var both sync.WaitGroup
		both.Go(func() { io.Copy(there, here); there.Close() }) //nolint:errcheck // either may end it
		both.Go(func() { io.Copy(here, there); here.Close() })  //nolint:errcheck // either may end it
		both.Wait()
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// database makes one that knows of one vulnerability, in a package of Go's; of none if it has no name.
func database(t *testing.T, pkg, details string) string {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{
		"index/db.json":      `{"modified":"2026-01-01T00:00:00Z"}`,
		"index/modules.json": `[]`,
		"index/vulns.json":   `[]`,
	}
	if pkg != "" {
		all["index/modules.json"] = `[{"path":"stdlib","vulns":[{"id":"GO-2026-9999","modified":"2026-01-01T00:00:00Z"}]}]`
		all["index/vulns.json"] = `[{"id":"GO-2026-9999","modified":"2026-01-01T00:00:00Z"}]`
		all["ID/GO-2026-9999.json"] = `{"schema_version":"1.3.1","id":"GO-2026-9999","modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z",
			"summary":"a test","details":"a test",` + details + `"affected":[{"package":{"name":"stdlib","ecosystem":"Go"},
			"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],
			"ecosystem_specific":{"imports":[{"path":"` + pkg + `"}]}}]}`
	}
	files(t, dir, all)
	return dir
}

func files(t *testing.T, dir string, texts map[string]string) {
	t.Helper()
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
