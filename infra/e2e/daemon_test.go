package e2e

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sightglass/infra/internal/redistest"
	"sightglass/ingester/testblock"
	"sightglass/shared/keys"
)

// build makes one of the programs.
func build(t *testing.T, module, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-o", program, "./cmd/"+name)
	cmd.Dir = filepath.Join("..", "..", module)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	return program
}

// A daemon is a running program of ours.
type daemon struct {
	cmd    *exec.Cmd
	output bytes.Buffer
	ended  chan struct{} // closed when it has ended
	err    error         // how, then
}

func launch(t *testing.T, program string, args ...string) *daemon {
	t.Helper()
	d := &daemon{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = &d.output, &d.output
	d.cmd.Env = append(os.Environ(), "SIGHTGLASS_LOG_LEVEL=debug")
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.ended)
		d.err = d.cmd.Wait()
	}()
	t.Cleanup(func() {
		if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-d.ended
	})
	return d
}

// stop sends SIGTERM and expects exit status 0.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.ended:
		if d.err != nil {
			t.Errorf("%v after SIGTERM:\n%s", d.err, d.output.String())
		}
	case <-time.After(30 * time.Second):
		t.Errorf("still running 30 s after SIGTERM:\n%s", d.output.String())
	}
}

// freeAddr gives an address that nobody listens on right now.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestSIGTERMDrainsAnEdge: the real program tells its clients to go elsewhere and exits with 0.
func TestSIGTERMDrainsAnEdge(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client().Set(t.Context(), keys.Latest, encode("5", 10), 0).Err(); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	d := launch(t, build(t, "edge", "edge"), "run", "--listen", addr, "--redis", server.URL(), "--drain-delay", "100ms", "--drain-window", "100ms", "--grace", "10s")
	until(t, "the edge to be alive", func() bool { return alive(addr) })
	conn, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/ws/mempool", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if _, err := read(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	spare, err := net.Dial("tcp", addr) // sends nothing, as a browser's spare connection
	if err != nil {
		t.Fatal(err)
	}
	defer spare.Close()
	stopped := make(chan struct{})
	go func() { defer close(stopped); d.stop(t) }()
	for err == nil {
		_, err = read(t.Context(), conn)
	}
	if code := websocket.CloseStatus(err); code != websocket.StatusGoingAway {
		t.Errorf("the client was told %v, want 1001", err)
	}
	<-stopped
}

func alive(addr string) bool {
	answer, err := http.Get("http://" + addr + "/livez")
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// TestTheProgramsTogether: replay, ingester and edge as three processes, as an operator runs them.
func TestTheProgramsTogether(t *testing.T) {
	server := redistest.Start(t)
	ingester, edge := build(t, "ingester", "ingester"), build(t, "edge", "edge")
	zmq, addr, metrics := "tcp://"+freeAddr(t), freeAddr(t), freeAddr(t)
	replayer := launch(t, ingester, "replay", "--zmq", zmq, "--rate", "2000", "--loop", testblock.Path(t, testblock.Block574200))
	computer := launch(t, ingester, "run", "--zmq", zmq, "--redis", server.URL(), "--internal-listen", metrics)
	relay := launch(t, edge, "run", "--redis", server.URL(), "--listen", addr)
	until(t, "the edge to be ready", func() bool {
		answer, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	until(t, "the metrics to show a price", func() bool {
		answer, err := http.Get("http://" + metrics + "/metrics")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return err == nil && gauge(string(text), "sightglass_price_usd") > 0
	})
	for _, d := range []*daemon{relay, computer, replayer} {
		d.stop(t)
	}
}

func gauge(metrics, name string) float64 {
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err == nil {
				return v
			}
		}
	}
	return 0
}

// TestBadSettingsAreNamed: the programs say what is wrong and what to do, and exit with a status that is not 0.
func TestBadSettingsAreNamed(t *testing.T) {
	ingester, edge := build(t, "ingester", "ingester"), build(t, "edge", "edge")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		program string
		args    []string
		want    string
	}{
		"edge, port taken":         {edge, []string{"run", "--listen", taken.Addr().String()}, "address already in use"},
		"edge, no address":         {edge, []string{"checkconfig", "--listen", "nowhere"}, "want HOST:PORT"},
		"edge, redis URL":          {edge, []string{"checkconfig", "--redis", "localhost:6379"}, "want redis://"},
		"edge, unknown flag":       {edge, []string{"run", "--prot", "80"}, "unknown flag --prot"},
		"ingester, interval":       {ingester, []string{"checkconfig", "--interval", "1ms"}, "want 100ms to 10s"},
		"ingester, ZMQ endpoint":   {ingester, []string{"checkconfig", "--zmq", "127.0.0.1:28332"}, "want tcp://HOST:PORT"},
		"ingester, near":           {ingester, []string{"checkconfig", "--near=-5"}, "want dollars per bitcoin"},
		"ingester, log level":      {ingester, []string{"checkconfig", "--log-level", "loud"}, "--log-level"},
		"ingester, nothing to do":  {ingester, nil, "expected one of"},
		"ingester, a missing file": {ingester, []string{"price", "absent.gz"}, "absent.gz"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command(c.program, c.args...).CombinedOutput()
			if failed, ok := errors.AsType[*exec.ExitError](err); !ok || failed.ExitCode() < 1 {
				t.Errorf("exit status: %v", err)
			}
			if !strings.Contains(string(out), c.want) {
				t.Errorf("it says %q, want it to say %q", out, c.want)
			}
		})
	}
}
