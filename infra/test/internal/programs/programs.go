// Package programs builds the programs of this repository and runs them as processes, for tests.
package programs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"sightglass/infra/internal/freeport"
	"sightglass/shared/logtest"
)

// Build builds a program and returns its path. All tests share the path, so that an up-to-date program is not linked again.
func Build(t testing.TB, module, name string) string {
	t.Helper()
	return build(t, module, "./cmd/"+name)
}

// BuildTool builds a program of another module, which infra/go.mod lists as a tool, and returns its path.
func BuildTool(t testing.TB, pkg string) string {
	t.Helper()
	return build(t, "infra", pkg)
}

var (
	building sync.Mutex
	built    = make(map[string]error) // by path
)

// build builds a program of a module once for the process. Other processes wait meanwhile, and then find it up to date.
func build(t testing.TB, module, pkg string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	program := filepath.Join(root(), "bin", "tests", path.Base(pkg))
	err, known := built[program]
	if !known {
		err = buildLocked(program, filepath.Join(root(), module), pkg)
		built[program] = err
	}
	if err != nil {
		t.Fatalf("building %s: %v", pkg, err)
	}
	return program
}

// buildLocked builds a program while no other process builds any.
func buildLocked(program, dir, pkg string) error {
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(program), "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-o", program, pkg)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// root returns the root folder of the repository.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "..")
}

// SkipOrFail skips a test that cannot run on this machine, for a reason. In CI, where CI=true, it fails the test instead.
func SkipOrFail(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	fmt.Fprintln(os.Stderr, "SKIPPED:", t.Name()+":", reason)
	t.Skip(reason)
}

// CopySources copies the repository's files into a folder: tracked and new ones, with uncommitted changes, but not
// ignored ones.
func CopySources(t testing.TB, dir string) {
	t.Helper()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root()
	files, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for file := range strings.SplitSeq(strings.TrimRight(string(files), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(root(), file))
		if os.IsNotExist(err) { // deleted, but not committed
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(root(), file))
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, data, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

// A Process is a program that was started by Launch.
type Process struct {
	cmd    *exec.Cmd
	output logtest.Log
	exited chan struct{} // closed when the process has exited
	err    error         // of Cmd.Wait; valid after exited is closed
}

// Launch starts a program with the log level debug. It is killed when the test ends, unless it has exited.
func Launch(t testing.TB, program string, args ...string) *Process {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "SIGHTGLASS_LOG_LEVEL=debug")
	return LaunchCommand(t, cmd)
}

// LaunchCommand starts a command. It is killed when the test ends, unless it has exited.
func LaunchCommand(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // a Pdeathsig of cmd is sent when the thread that started the process ends
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		p.Wait()
	})
	return p
}

// Signal sends the process a signal. The process must be running.
func (p *Process) Signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// Running reports whether the process has not exited.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output waits until the process has exited and returns what it has printed.
func (p *Process) Output() string {
	p.Wait()
	return p.output.String()
}

// Printed returns what the process has printed so far.
func (p *Process) Printed() string { return p.output.String() }

// ExitCode waits until the process has exited and returns its status.
func (p *Process) ExitCode() int {
	p.Wait()
	return p.cmd.ProcessState.ExitCode()
}

// Wait waits until the process has exited.
func (p *Process) Wait() { <-p.exited }

// Stop sends SIGTERM. The test fails if the process does not exit within 30 s with status 0.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	select {
	case <-p.exited:
		if p.err != nil {
			t.Errorf("%v after SIGTERM:\n%s", p.err, p.output.String())
		}
	case <-time.After(30 * time.Second):
		t.Errorf("still running 30 s after SIGTERM:\n%s", p.output.String())
	}
}

// FreeAddr returns a loopback address with a port for a program that is started later.
func FreeAddr(t testing.TB) string {
	t.Helper()
	port, err := freeport.On("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Alive reports whether /livez of the edge at addr returns 200.
func Alive(addr string) bool { _, err := Get("http://" + addr + "/livez"); return err == nil }

// Ready reports whether /readyz of the edge at addr returns 200.
func Ready(addr string) bool { _, err := Get("http://" + addr + "/readyz"); return err == nil }

// Get returns the body of a response. It returns an error if the status is not 200.
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

// Metric returns the value of a metric without labels from the program that serves its metrics at addr. It returns false if
// the program does not respond or has no such metric.
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
	return m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue(), true // only one of them is set
}

// Until polls a condition every 20 ms, and fails the test if it is not met within a minute.
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

// AwaitMinute returns when the minute of the clock has at least 15 seconds left, or when ctx ends. Call it before a replay that
// is faster than the network: the engine counts a minute as one observation, and if the first minute had only a small part of
// a block, the price may be lost for the whole next one.
func AwaitMinute(ctx context.Context) {
	now := time.Now()
	if now.Second() < 45 {
		return
	}
	select {
	case <-time.After(time.Until(now.Truncate(time.Minute).Add(time.Minute))):
	case <-ctx.Done():
	}
}
