//go:build deploy

// Package compose runs docker-compose.yml as an operator does, with real images in a real engine, and injects faults.
package compose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sightglass/infra/test/internal/programs"
)

// An engine runs containers: the machine's, or one that the test starts.
type engine struct {
	host string // DOCKER_HOST; empty: the client's default
	ours bool
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	for _, program := range []string{"docker", "docker-compose"} {
		if _, err := exec.LookPath(program); err != nil {
			programs.SkipOrFail(t, program+" is not installed: `make test-deploy` installs it")
		}
	}
	e := &engine{host: os.Getenv("DOCKER_HOST")}
	if _, err := e.run(t, "docker", "version"); err == nil {
		return e
	}
	if e.host != "" {
		programs.SkipOrFail(t, "no engine answers at DOCKER_HOST="+e.host+": start it, or unset DOCKER_HOST so that the test starts one")
	}
	if os.Getuid() != 0 {
		programs.SkipOrFail(t, "no engine answers, and only root can start one: start Docker, or run the test as root")
	}
	return start(t)
}

// start runs a dockerd in a temporary folder, and removes everything at the end.
func start(t *testing.T) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "dockerd-") // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, dir) })
	socket := filepath.Join(dir, "docker.sock")
	_, noBridge := net.InterfaceByName("docker0")
	var output bytes.Buffer
	dockerd := exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "-H", "unix://"+socket)
	dockerd.Stdout, dockerd.Stderr = &output, &output
	dockerd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the test, which then stops dockerd
	if err := dockerd.Start(); err != nil {
		programs.SkipOrFail(t, fmt.Sprintf("dockerd cannot be started: %v", err))
	}
	ended := make(chan struct{})
	go func() { defer close(ended); dockerd.Wait() }() //nolint:errcheck // it was stopped, or its log has the reason
	t.Cleanup(func() {
		dockerd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have exited already
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("got a running dockerd after SIGTERM, want it to exit")
			dockerd.Process.Kill() //nolint:errcheck // as above
			<-ended
		}
		if noBridge != nil { // it did not exist before
			exec.Command("ip", "link", "delete", "docker0").Run() //nolint:errcheck // a leftover does no harm
		}
	})
	e := &engine{host: "unix://" + socket, ours: true}
	answers := func() bool { _, err := e.run(t, "docker", "version"); return err == nil }
	programs.Until(t, "dockerd", func() bool {
		select {
		case <-ended:
			programs.SkipOrFail(t, "dockerd exits at once:\n"+output.String())
		default:
		}
		return answers()
	})
	return e
}

// remove unmounts dockerd's leftover mounts in its folder, the innermost first, and removes the folder.
func remove(t *testing.T, dir string) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Error(err)
	}
	var inside []string
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[1]; strings.HasPrefix(at, dir+"/") {
			inside = append([]string{at}, inside...)
		}
	}
	for _, at := range inside {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", at, err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// root is the repository.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// commandWithin bounds each command. The longest builds the images: three minutes of one core.
const commandWithin = 10 * time.Minute

// run runs a command against the engine, in the repository's root, and returns its standard output. The error has its
// standard error.
func (e *engine) run(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin) // also in a test's cleanup
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0", "COMPOSE_DOCKER_CLI_BUILD=0") // Debian has no buildx
	if e.host != "" {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+e.host)
	}
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), errors.Join(err, ctx.Err()), out.String(), stderr.String())
	}
	return out.String(), nil
}

// must is run for a command that must succeed. It returns the output without surrounding white space.
func (e *engine) must(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := e.run(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (e *engine) docker(t testing.TB, args ...string) string {
	t.Helper()
	return e.must(t, "docker", args...)
}

// number runs docker and returns its output as a number.
func (e *engine) number(t testing.TB, args ...string) int {
	t.Helper()
	n, err := strconv.Atoi(e.docker(t, args...))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
