package e2e

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sightglass/edge"
	"sightglass/infra/test/internal/daemons"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/shared/contract"
	"sightglass/shared/history"
)

// A runner returns the command that runs a snippet in dir, or the name of a missing requirement.
type runner func(t *testing.T, dir, text string) (command []string, missing string)

// snippets are those of docs/clients.md, with the runner of each and a pattern for one line of its output.
var snippets = map[string]struct {
	run    runner
	prints string
}{
	"curl-client":       {shell("curl"), ``},
	"curl-snapshot":     {shell("curl"), `^(200|304)$`},
	"curl-history":      {shell("curl"), `^{"step":60,"points":\[(.*,)?\[\d+,5\d{3}\.\d\d,`},
	"curl-price":        {shell("curl"), `^5\d{3}\.\d\d$`},
	"curl-prices":       {shell("curl"), `^{"time":\d+,"USD":5\d{3}}{"prices":\[{"time":\d+,"USD":5\d{3}\.\d\d}\],"exchangeRates":{}}$`},
	"curl-points":       {shell("curl"), `^{"points":\[\[\d+\.\d{3},\d{4}\.\d\d,\d+(\.5)?\],`},
	"curl-stream":       {shell("curl"), `^data: {"price":5\d{3}\.`},
	"curl-stream-delta": {shell("curl"), `^data: {"type":"delta"`},
	"node":              {nodejs, `^5\d{3}(\.\d+)? .* live -\d+ \+\d+$`},
	"websocat":          {shell("websocat"), `^{"type":"delta"`},
	"python":            {python("json"), `^5\d{3}(\.\d+)? live$`},
	"python-alert":      {crossing, `^Bitcoin is (above|below) \$100,000$`},
	"python-evidence":   {python("json"), `^5[23]\d\d\.\d\d by counting, 5[23]\d\d(\.\d+)? by the engine$`},
	"python-websockets": {python("websockets"), `^5\d{3}(\.\d+)? live \d+$`},
	"go":                {golang, `^5\d{3}(\.\d+)? .* live$`},
	"redis-get":         {shell("redis-cli"), `^{"price":5\d{3}\.`},
	"redis-subscribe":   {shell("redis-cli"), `^{"price":5\d{3}\.`},
	"redis-history":     {shell("redis-cli"), `^\[\d+,5\d{3}\.`},
}

// TestDocs_ClientSnippetsRun runs the snippets of docs/clients.md unchanged but for the addresses.
func TestDocs_ClientSnippetsRun(t *testing.T) {
	env := start(t, 1)
	addresses := strings.NewReplacer(
		"127.0.0.1:8080", env.edges[0].Addr().String(),
		"redis-cli", "redis-cli -u "+env.redis.URL(),
	)
	awaitHistory(t, env.redis)
	awaitPoints(t, env.redis)
	awaitEvidence(t, env.edges[0])
	dir := t.TempDir() // shared: the first snippet fetches a file that another one imports
	ran := make(map[string]bool)
	for _, s := range readSnippets(t, filepath.Join("..", "..", "..", "docs", "clients.md")) {
		known, ok := snippets[s.name]
		if !ok {
			t.Errorf("%s: got a snippet without a test, want an entry in snippets", s.name)
		}
		ran[s.name] = true
		t.Run(s.name, func(t *testing.T) {
			text := addresses.Replace(s.text)
			if s.name == "python-alert" {
				text = s.text // it has an edge of its own
			}
			command, missing := known.run(t, dir, text)
			if missing != "" {
				t.Skip(missing)
			}
			expectLine(t, dir, command, regexp.MustCompile(known.prints))
		})
	}
	for name := range snippets {
		if !ran[name] {
			t.Errorf("%s: got no such snippet in docs/clients.md, want one", name)
		}
	}
}

func awaitHistory(t *testing.T, server *redistest.Server) {
	t.Helper()
	client := server.Client()
	programs.Until(t, "an entry with the price in the history", func() bool {
		newest, err := client.ZRange(t.Context(), history.KeyRecent, -1, -1).Result()
		return err == nil && len(newest) == 1 && strings.Contains(newest[0], ",5")
	})
}

func awaitPoints(t *testing.T, server *redistest.Server) {
	t.Helper()
	client := server.Client()
	programs.Until(t, "points with their amounts", func() bool {
		return strings.HasPrefix(client.Get(t.Context(), contract.KeyPoints).Val(), "[[")
	})
}

type snippet struct{ name, text string }

// readSnippets returns the blocks of a document that begin with ```LANGUAGE run=NAME. Only HTML and JSON blocks may have
// no name.
func readSnippets(t *testing.T, file string) (found []snippet) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```(\\w+)(?: run=(\\S+))?$\n(.*?)^```$")
	for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
		switch language, name, text := block[1], block[2], block[3]; {
		case name != "":
			found = append(found, snippet{name, text})
		case language != "html" && language != "json":
			t.Errorf("got a %s snippet without run=NAME, want a name: %.60q", language, text)
		}
	}
	return found
}

// expectLine runs a command in dir until it prints a matching line. Without a pattern, the command must exit with 0.
func expectLine(t *testing.T, dir string, command []string, line *regexp.Regexp) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // go run and sh have children
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	printed, seen := readUntil(stdout, line)
	if seen {
		cancel()
	}
	if err := cmd.Wait(); !seen && (err != nil || line.String() != "") {
		t.Errorf("got exit error %v without a line that matches %s:\n%s%s", err, line, printed, stderr.String())
	}
}

// readUntil reads up to a matching line, or to the end if there is no pattern.
func readUntil(r io.Reader, line *regexp.Regexp) (read string, seen bool) {
	lines := bufio.NewReader(r)
	for {
		text, err := lines.ReadString('\n')
		read += text
		switch {
		case err != nil && text == "":
			return read, false
		case line.String() != "" && line.MatchString(strings.TrimSuffix(text, "\n")):
			return read, true
		}
	}
}

// shell runs a snippet that requires a program.
func shell(program string) runner {
	return func(_ *testing.T, _, text string) ([]string, string) {
		return []string{"sh", "-euc", text}, absent(program)
	}
}

func absent(program string) string {
	if _, err := exec.LookPath(program); err != nil {
		return program + " is not installed"
	}
	return ""
}

func nodejs(t *testing.T, dir, text string) ([]string, string) {
	t.Helper()
	webSocket, err := filepath.Abs(filepath.Join("..", "browser", "websocket.js"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(webSocket), "node_modules", "ws")); err != nil {
		return nil, "the packages are missing: make web installs them"
	}
	return []string{"node", "--import", "file://" + webSocket, save(t, dir, "snippet.mjs", text)}, absent("node")
}

// python runs a snippet that imports a module. Debian's packages are for Debian's Python, which may not be first in
// PATH.
func python(module string) runner {
	return func(t *testing.T, dir, text string) ([]string, string) {
		for _, python := range []string{"python3", "/usr/bin/python3"} {
			if exec.Command(python, "-c", "import "+module).Run() == nil {
				return []string{python, save(t, dir, module+"_snippet.py", text)}, ""
			}
		}
		return nil, "no Python that has " + module + " is installed"
	}
}

// crossing runs a Python snippet that reports a crossed price to a webhook, with an edge whose price crosses it again and
// again. The snippet prints what the webhook has accepted.
func crossing(t *testing.T, dir, text string) ([]string, string) {
	t.Helper()
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || r.Method != http.MethodPost || !strings.HasPrefix(string(body), "Bitcoin is ") {
			t.Errorf("the webhook got %s %q, error %v, want POST with a sentence", r.Method, body, err)
		}
	}))
	t.Cleanup(hook.Close)
	server := redistest.Start(t)
	e := daemons.StartEdge(t, quiet(t), func(o *edge.Options) { o.Redis = server.URL() })
	client := server.Client()
	daemons.Run(t, func(ctx context.Context) error {
		for seq := uint64(1); ctx.Err() == nil; seq++ {
			s := contract.Snapshot{
				Price: 99_000 + 2000*float64(seq/4%2), Confidence: 0.95, Status: contract.Live, Timestamp: 4e9, Epoch: "5", Seq: seq,
			}
			client.Publish(ctx, contract.Channel, s.AppendJSON(nil)) // the next one follows if it fails
			select {
			case <-time.After(contract.Interval / 5):
			case <-ctx.Done():
			}
		}
		return nil
	})
	addresses := strings.NewReplacer("127.0.0.1:8080", e.Addr().String(), "https://ntfy.sh/your-topic", hook.URL)
	return python("json")(t, dir, addresses.Replace(text))
}

// golang builds a snippet as a program of this module, whose go.mod has its imports.
func golang(t *testing.T, dir, text string) ([]string, string) {
	t.Helper()
	program := filepath.Join(dir, "snippet")
	if out, err := exec.Command("go", "build", "-o", program, save(t, dir, "snippet.go", text)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return []string{program}, ""
}

func save(t *testing.T, dir, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
