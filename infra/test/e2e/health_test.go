package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester/testblock"
)

// TestHealthCommand_ReportsCause: the programs' health commands, for images without a shell, print the cause in one
// line and exit with 1.
func TestHealthCommand_ReportsCause(t *testing.T) {
	server := redistest.Start(t)
	ingester, edge := programs.Build(t, "ingester", "ingester"), programs.Build(t, "edge", "edge")
	zmq, addr, internal := "tcp://"+programs.FreeAddr(t), programs.FreeAddr(t), programs.FreeAddr(t)
	reports := func(program, url, want string) bool {
		out, err := exec.Command(program, "health", "--url", url).CombinedOutput()
		text := string(out)
		if strings.Count(text, "\n") != 1 {
			t.Fatalf("got output %q, want one line", text)
		}
		good := strings.Contains(text, ": 200 OK: ")
		if good != (err == nil) {
			t.Fatalf("got output %q and exit error %v, want them to agree", text, err)
		}
		return strings.Contains(text, want)
	}
	ready, live := "http://"+internal+"/readyz", "http://"+internal+"/livez"

	if !reports(ingester, ready, "connection refused") || !reports(edge, "nowhere", "unsupported protocol") {
		t.Error("got no error about a refused connection or an invalid URL, want both")
	}
	programs.Launch(t, ingester, "run", "--zmq", zmq, "--redis", server.URL(), "--internal-listen", internal)
	programs.Until(t, "an ingester without a node", func() bool { return reports(ingester, ready, "503 Service Unavailable: not connected to the node") })
	replay := programs.Launch(t, ingester, "replay", "--zmq", zmq, "--rate", "100", "--loop", testblock.Path(t, testblock.Block574200))
	programs.Launch(t, edge, "run", "--redis", server.URL(), "--listen", addr)
	programs.Until(t, "a ready ingester", func() bool { return reports(ingester, ready, "ok") })
	half, dead := "http://"+programs.FreeAddr(t)+"/readyz", "tcp://"+programs.FreeAddr(t)
	programs.Launch(t, ingester, "run", "--zmq", zmq+","+dead, "--redis", server.URL(),
		"--internal-listen", strings.TrimSuffix(strings.TrimPrefix(half, "http://"), "/readyz"))
	programs.Until(t, "an ingester with one of two endpoints down", func() bool { return reports(ingester, half, "no ZMQ connection to "+dead+": ") })
	programs.Until(t, "a ready edge", func() bool { return reports(edge, "http://"+addr+"/readyz", "ok") })

	server.Kill()
	programs.Until(t, "the ingester to report Redis", func() bool { return reports(ingester, ready, "redis has neither accepted a snapshot") })
	programs.Until(t, "the edge to report Redis", func() bool { return reports(edge, "http://"+addr+"/readyz", "not connected to redis") })
	server.Start()
	programs.Until(t, "the ingester to recover", func() bool { return reports(ingester, ready, "ok") })

	replay.Stop(t)
	programs.Until(t, "the ingester to report its node", func() bool { return reports(ingester, ready, "not connected to the node") })
	if !reports(ingester, live, "ok") {
		t.Error("an ingester without a node: got not live, want live, as a restart would lose its window")
	}
}
