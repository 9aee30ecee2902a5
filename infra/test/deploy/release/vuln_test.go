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

// url is the field of a vulnerability that govulncheck's text output requires.
const url = `"database_specific":{"url":"https://pkg.go.dev/vuln/GO-2026-9999"},`

// TestVuln_Verdicts runs govulncheck with databases with and without vulnerabilities, and without access to the public
// one.
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
	rejecting := httptest.NewServer(http.NotFoundHandler())
	defer rejecting.Close()
	for name, c := range map[string]struct {
		module string
		env    string
		says   string
		fails  bool
	}{
		"no vulnerability":     {program, "GOVULNDB=file://" + database(t, "", url), "no known vulnerabilities", false},
		"a vulnerability":      {program, "GOVULNDB=file://" + database(t, "fmt", url), "Your code is affected by 1 vulnerability", true},
		"an unused one":        {program, "GOVULNDB=file://" + database(t, "net/http", url), "no known vulnerabilities", false},
		"an unreadable one":    {program, "GOVULNDB=file://" + database(t, "fmt", ""), program + ": failed", true}, // it panics
		"unreachable":          {program, "HTTPS_PROXY=http://" + closed.Addr().String(), "database not reached, not checked: " + program, false},
		"a proxy that rejects": {program, "HTTPS_PROXY=" + rejecting.URL, "database not reached, not checked: " + program, false},
		"a wrong certificate":  {program, "HTTPS_PROXY=" + interceptor(t), "certificate", true},
		"no such database":     {program, "GOVULNDB=http://" + closed.Addr().String(), "failed", true},
		"a compile error":      {broken, "GOVULNDB=file://" + database(t, "", url), "nonsense", true},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(filepath.Join(repository(), "infra/release/vuln"), tool("govulncheck"), c.module)
			cmd.Env = append(os.Environ(), c.env, "NO_PROXY=")
			out, err := cmd.CombinedOutput()
			if _, failed := errors.AsType[*exec.ExitError](err); failed != c.fails || !strings.Contains(string(out), c.says) {
				t.Errorf("got %v, want failure %v and %q:\n%s", err, c.fails, c.says, out)
			}
		})
	}
}

// interceptor is a proxy that connects every request to its own server.
func interceptor(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients reject the certificate
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
		io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n") //nolint:errcheck // the reader would fail
		var both sync.WaitGroup
		both.Go(func() { io.Copy(there, here); there.Close() }) //nolint:errcheck // either may end it
		both.Go(func() { io.Copy(here, there); here.Close() })  //nolint:errcheck // either may end it
		both.Wait()
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// database makes a database with one vulnerability in a standard package; without one if pkg is empty.
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
