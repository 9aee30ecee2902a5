package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester/testblock"
)

// TestHealthCommand_ReportsCause: the programs' own probes, for images without a shell, say in one line what is wrong, and exit with 1.
func TestHealthCommand_ReportsCause(t *testing.T) {
	server := redistest.Start(t)
	ingester, edge := programs.Build(t, "ingester", "ingester"), programs.Build(t, "edge", "edge")
	zmq, addr, internal := "tcp://"+programs.FreeAddr(t), programs.FreeAddr(t), programs.FreeAddr(t)
	says := func(program, url, want string) bool {
		out, err := exec.Command(program, "health", "--url", url).CombinedOutput()
		text := string(out)
		if strings.Count(text, "\n") != 1 {
			t.Fatalf("health says %q, want one line", text)
		}
		good := strings.Contains(text, ": 200 OK: ")
		if good != (err == nil) {
			t.Fatalf("health says %q and exits with: %v", text, err)
		}
		return strings.Contains(text, want)
	}
	ready, live := "http://"+internal+"/readyz", "http://"+internal+"/livez"

	if !says(ingester, ready, "connection refused") || !says(edge, "nowhere", "unsupported protocol") {
		t.Error("health does not say that nobody listens, or that a URL is none")
	}
	programs.Launch(t, ingester, "run", "--zmq", zmq, "--redis", server.URL(), "--internal-listen", internal)
	programs.Until(t, "an ingester without a node", func() bool { return says(ingester, ready, "503 Service Unavailable: not connected to the node") })
	replayer := programs.Launch(t, ingester, "replay", "--zmq", zmq, "--rate", "100", "--loop", testblock.Path(t, testblock.Block574200))
	programs.Launch(t, edge, "run", "--redis", server.URL(), "--listen", addr)
	programs.Until(t, "a ready ingester", func() bool { return says(ingester, ready, "ok") })
	half, dead := "http://"+programs.FreeAddr(t)+"/readyz", "tcp://"+programs.FreeAddr(t)
	programs.Launch(t, ingester, "run", "--zmq", zmq+","+dead, "--redis", server.URL(),
		"--internal-listen", strings.TrimSuffix(strings.TrimPrefix(half, "http://"), "/readyz"))
	programs.Until(t, "an ingester that lacks one of two endpoints", func() bool { return says(ingester, half, "no ZMQ connection to "+dead+": ") })
	programs.Until(t, "a ready edge", func() bool { return says(edge, "http://"+addr+"/readyz", "ok") })

	server.Kill()
	programs.Until(t, "the ingester to miss Redis", func() bool { return says(ingester, ready, "redis has taken no snapshot") })
	programs.Until(t, "the edge to miss Redis", func() bool { return says(edge, "http://"+addr+"/readyz", "not connected to redis") })
	server.Start()
	programs.Until(t, "the ingester to be back", func() bool { return says(ingester, ready, "ok") })

	replayer.Stop(t)
	programs.Until(t, "the ingester to miss its node", func() bool { return says(ingester, ready, "not connected to the node") })
	if !says(ingester, live, "ok") {
		t.Error("an ingester without a node is not live: a restart would cost it its window")
	}
}
