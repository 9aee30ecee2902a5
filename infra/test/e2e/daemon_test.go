package e2e

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/infra/test/internal/wstest"
	"sightglass/ingester/testblock"
	"sightglass/shared/contract"
)

// TestEdge_SIGTERMDrains: the real program closes its clients with 1001 and exits with 0.
func TestEdge_SIGTERMDrains(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client().Set(t.Context(), contract.KeyLatest, encode("5", 10), 0).Err(); err != nil {
		t.Fatal(err)
	}
	addr := programs.FreeAddr(t)
	d := programs.Launch(t, programs.Build(t, "edge", "edge"), "run", "--listen", addr, "--redis", server.URL(), "--drain-delay", "100ms", "--drain-window", "100ms", "--grace", "10s")
	programs.Until(t, "the edge to be alive", func() bool { return programs.Alive(addr) })
	conn := wstest.MustDial(t, wstest.URL(addr), nil, websocket.DialOptions{})
	if _, err := wstest.Read(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	idle, err := net.Dial("tcp", addr) // sends nothing, like a browser's preconnect
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	stopped := make(chan struct{})
	go func() { defer close(stopped); d.Stop(t) }()
	for err == nil {
		_, err = wstest.Read(t.Context(), conn)
	}
	if code := websocket.CloseStatus(err); code != websocket.StatusGoingAway {
		t.Errorf("got close error %v, want 1001", err)
	}
	<-stopped
}

// TestPrograms_ReplayIngesterEdge runs replay, ingester and edge as three processes, as an operator does.
func TestPrograms_ReplayIngesterEdge(t *testing.T) {
	server := redistest.Start(t)
	ingester, edge := programs.Build(t, "ingester", "ingester"), programs.Build(t, "edge", "edge")
	zmq, addr, metrics := "tcp://"+programs.FreeAddr(t), programs.FreeAddr(t), programs.FreeAddr(t)
	replay := programs.Launch(t, ingester, "replay", "--zmq", zmq, "--rate", "2000", "--loop", testblock.Path(t, testblock.Block574200))
	in := programs.Launch(t, ingester, "run", "--zmq", zmq, "--redis", server.URL(), "--internal-listen", metrics)
	out := programs.Launch(t, edge, "run", "--redis", server.URL(), "--listen", addr)
	programs.Until(t, "the edge to be ready", func() bool { return programs.Ready(addr) })
	programs.Until(t, "the metrics to show a price", func() bool {
		answer, err := http.Get("http://" + metrics + "/metrics")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return err == nil && gauge(string(text), "sightglass_price_usd") > 0
	})
	for _, d := range []*programs.Process{out, in, replay} {
		d.Stop(t)
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

// TestPrograms_NameBadSettings: the programs print the error and what to do, and exit with a nonzero status.
func TestPrograms_NameBadSettings(t *testing.T) {
	ingester, edge := programs.Build(t, "ingester", "ingester"), programs.Build(t, "edge", "edge")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for name, c := range map[string]struct {
		program string
		args    []string
		want    string
	}{
		"edge, port in use":        {edge, []string{"run", "--listen", busy.Addr().String()}, "address already in use"},
		"edge, no address":         {edge, []string{"checkconfig", "--listen", "nowhere"}, "want HOST:PORT"},
		"edge, redis URL":          {edge, []string{"checkconfig", "--redis", "localhost:6379"}, "want redis://"},
		"edge, unknown flag":       {edge, []string{"run", "--prot", "80"}, "unknown flag --prot"},
		"ingester, ZMQ endpoint":   {ingester, []string{"checkconfig", "--zmq", "127.0.0.1:28332"}, "want tcp://HOST:PORT"},
		"ingester, price hint":     {ingester, []string{"checkconfig", "--price-hint=-5"}, "want dollars per bitcoin"},
		"ingester, log level":      {ingester, []string{"checkconfig", "--log-level", "loud"}, "--log-level"},
		"edge, log component":      {edge, []string{"checkconfig", "--log-level", "info,hubb=debug"}, "no such component: want one of edge, feed, hub"},
		"ingester, log component":  {ingester, []string{"checkconfig", "--log-level", "feed=debug"}, "no such component: want one of ingester, node"},
		"ingester, log summary":    {ingester, []string{"checkconfig", "--log-summary", "1ms"}, "--log-summary 1ms: want 1s to 24h"},
		"ingester, no command":     {ingester, nil, "expected one of"},
		"ingester, a missing file": {ingester, []string{"price", "absent.gz"}, "absent.gz"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command(c.program, c.args...).CombinedOutput()
			if failed, ok := errors.AsType[*exec.ExitError](err); !ok || failed.ExitCode() < 1 {
				t.Errorf("got exit error %v, want a nonzero status", err)
			}
			if !strings.Contains(string(out), c.want) {
				t.Errorf("got output %q, want it to contain %q", out, c.want)
			}
		})
	}
}

// TestIngester_NamesRetiredSettings: the flags are unknown, and a warning says that the variables have no effect.
func TestIngester_NamesRetiredSettings(t *testing.T) {
	ingester, server := programs.Build(t, "ingester", "ingester"), redistest.Start(t)
	for _, flag := range []string{"--interval", "--window"} {
		if out, err := exec.Command(ingester, "checkconfig", flag, "5s").CombinedOutput(); err == nil || !strings.Contains(string(out), "unknown flag "+flag) {
			t.Errorf("%s: got %v and %q, want an error that names the flag", flag, err, out)
		}
	}
	t.Setenv("SIGHTGLASS_INTERVAL", "5s")
	t.Setenv("SIGHTGLASS_WINDOW", "24h")
	out, err := exec.Command(ingester, "checkconfig").CombinedOutput()
	if err != nil {
		t.Errorf("checkconfig: got %v, want exit status 0", err)
	}
	const interval, window = "SIGHTGLASS_INTERVAL=5s has no effect", "SIGHTGLASS_WINDOW=24h has no effect"
	if text := string(out); !strings.Contains(text, interval) || !strings.Contains(text, window) || !strings.Contains(text, "the settings are valid") {
		t.Errorf("checkconfig: got %q, want both variables and that the settings are valid", text)
	}
	d := programs.Launch(t, ingester, "run", "--zmq", "tcp://"+programs.FreeAddr(t), "--redis", server.URL())
	programs.Until(t, "snapshots in spite of the variables", func() bool { return latest(t, server) != nil })
	d.Stop(t)
	if text := d.Output(); !strings.Contains(text, interval) || !strings.Contains(text, window) {
		t.Errorf("run: got %q, want both variables", text)
	}
}

// TestEdge_OldVariableWorksWithWarning: the value applies, and run and checkconfig name the new variable.
func TestEdge_OldVariableWorksWithWarning(t *testing.T) {
	edge, server := programs.Build(t, "edge", "edge"), redistest.Start(t)
	const warning = "SIGHTGLASS_MAX_SOCKETS_PER_ADDRESS was renamed to SIGHTGLASS_MAX_CONNS_PER_ADDRESS"
	t.Setenv("SIGHTGLASS_MAX_SOCKETS_PER_ADDRESS", "9")
	const want = "--max-conns-per-address 9: want --max-per-address (10) or more"
	if out, err := exec.Command(edge, "checkconfig").CombinedOutput(); err == nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), warning) {
		t.Errorf("checkconfig, a low value: got %v and %q, want the error and the warning", err, out)
	}
	t.Setenv("SIGHTGLASS_MAX_SOCKETS_PER_ADDRESS", "12")
	if out, err := exec.Command(edge, "checkconfig").CombinedOutput(); err != nil || !strings.Contains(string(out), warning) {
		t.Errorf("checkconfig: got %v and %q, want the warning", err, out)
	}
	addr := programs.FreeAddr(t)
	d := programs.Launch(t, edge, "run", "--listen", addr, "--redis", server.URL(), "--drain-delay", "0", "--drain-window", "0", "--grace", "0")
	programs.Until(t, "the edge to answer", func() bool {
		answer, err := http.Get("http://" + addr + "/livez")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	d.Stop(t)
	if text := d.Output(); !strings.Contains(text, warning) || !strings.Contains(text, "component=edge") {
		t.Errorf("run: got %q, want the warning", text)
	}
}
