// Package programs builds our programs and runs them as processes, for tests.
package programs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Build makes one of the programs, and gives its path. It is the same for all tests, so that one that is up to date is
// not linked again: the tests that use it run one after the other.
func Build(t testing.TB, module, name string) string {
	t.Helper()
	program := filepath.Join(root(), "bin", "tests", name)
	cmd := exec.Command("go", "build", "-o", program, "./cmd/"+name)
	cmd.Dir = filepath.Join(root(), module)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	return program
}

// root is the repository, whichever package's test asks.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "..")
}

// Cannot ends a test that this machine cannot run: CI must have what it takes, elsewhere it is skipped.
func Cannot(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	fmt.Fprintln(os.Stderr, "SKIPPED:", t.Name()+":", why)
	t.Skip(why)
}

// Sources copies the repository into a folder, as git knows it with what is not committed yet.
func Sources(t testing.TB, dir string) {
	t.Helper()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root()
	files, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for file := range strings.SplitSeq(strings.TrimRight(string(files), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(root(), file))
		if os.IsNotExist(err) { // deleted, and not committed
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(root(), file))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

// A Process is a running program of ours.
type Process struct {
	cmd    *exec.Cmd
	output bytes.Buffer
	ended  chan struct{} // closed when it has ended
	err    error         // how, then
}

// Launch runs a program until the test ends, if not for less.
func Launch(t testing.TB, program string, args ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.Env = append(os.Environ(), "SIGHTGLASS_LOG_LEVEL=debug")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		p.Wait()
	})
	return p
}

// Signal sends the process a signal. It must run.
func (p *Process) Signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// PID is the process's, for as long as it runs.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what the process has said, once it has ended.
func (p *Process) Output() string {
	p.Wait()
	return p.output.String()
}

// Wait waits until the process has ended.
func (p *Process) Wait() { <-p.ended }

// Stop sends SIGTERM and expects exit status 0.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	select {
	case <-p.ended:
		if p.err != nil {
			t.Errorf("%v after SIGTERM:\n%s", p.err, p.output.String())
		}
	case <-time.After(30 * time.Second):
		t.Errorf("still running 30 s after SIGTERM:\n%s", p.output.String())
	}
}

// FreeAddr gives an address that nobody listens on right now.
func FreeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// Alive reports whether an edge listens there, and says so.
func Alive(addr string) bool { _, err := Get("http://" + addr + "/livez"); return err == nil }

// Ready reports whether an edge listens there that has a fresh snapshot.
func Ready(addr string) bool { _, err := Get("http://" + addr + "/readyz"); return err == nil }

// Get returns the body of a response. A status other than 200 is an error.
func Get(url string) (body []byte, err error) {
	response, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return io.ReadAll(response.Body)
}

// Metric returns a metric without labels, as the program that serves its metrics at addr has it now; false if it does not
// answer, or has no such metric.
func Metric(addr, name string) (value float64, ok bool) {
	text, err := Get("http://" + addr + "/metrics")
	if err != nil {
		return 0, false
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil || families[name] == nil {
		return 0, false
	}
	m := families[name].GetMetric()[0]
	return m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue(), true // it has one of them
}

// Until polls a condition of the running system, and fails the test if it does not come true in a minute.
func Until(t testing.TB, what string, met func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !met() {
		select {
		case <-deadline:
			t.Fatalf("waited a minute for %s", what)
		case <-poll.C:
		}
	}
}
