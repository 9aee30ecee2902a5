//go:build deploy

package compose

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"sightglass/infra/test/internal/programs"
)

// nodeSettings are those that switch to a node.
const nodeSettings = "infra/bitcoin/node.env"

// load reads docker-compose.yml with the settings of a file, as Compose v2 does: by its own library.
func load(t *testing.T, settings string, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{root(t) + "/docker-compose.yml"},
		cli.WithWorkingDirectory(root(t)), cli.WithName("sightglass"),
		cli.WithEnvFiles(settings), cli.WithDotEnv, cli.WithDefaultProfiles(profiles...))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// noSettings is an empty file in the place of an operator's .env.
func noSettings(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestCompose_V1ReadsTheFiles with every profile, as Debian 12 has it.
func TestCompose_V1ReadsTheFiles(t *testing.T) {
	if _, err := exec.LookPath("docker-compose"); err != nil {
		programs.Cannot(t, "docker-compose is not installed: `make test-deploy` installs it")
	}
	e := &engine{}
	for _, args := range [][]string{
		{"--env-file", noSettings(t)},
		{"--env-file", noSettings(t), "--profile", "watch"},
		{"--env-file", noSettings(t), "--profile", "node"},
		{"--env-file", root(t) + "/" + nodeSettings},
	} {
		e.must(t, "docker-compose", append(args, "config", "--quiet")...)
	}
}

// TestCompose_NodeReplacesReplay: with its settings, and only then.
func TestCompose_NodeReplacesReplay(t *testing.T) {
	for settings, c := range map[string]struct {
		bitcoind bool
		replays  int
		zmq      string
	}{
		noSettings(t):                {false, 1, "tcp://replay:28332"},
		root(t) + "/" + nodeSettings: {true, 0, "tcp://bitcoind:28332"},
	} {
		project := load(t, settings)
		if got := slices.Contains(project.ServiceNames(), "bitcoind"); got != c.bitcoind {
			t.Errorf("%s: a bitcoind: %v", settings, got)
		}
		if got := project.Services["replay"].Deploy.Replicas; got == nil || *got != c.replays {
			t.Errorf("%s: %v replays, want %d", settings, got, c.replays)
		}
		if got := *project.Services["ingester"].Environment["SIGHTGLASS_ZMQ"]; got != c.zmq {
			t.Errorf("%s: the ingester hears %s, want %s", settings, got, c.zmq)
		}
	}
}

// TestCompose_EveryServiceIsHardened: whatever is added later, too.
func TestCompose_EveryServiceIsHardened(t *testing.T) {
	project := load(t, noSettings(t), "node", "watch")
	want := []string{"bitcoind", "edge", "grafana", "haproxy", "ingester", "prometheus", "redis", "replay"}
	if got := project.ServiceNames(); !slices.Equal(got, want) {
		t.Errorf("services %v, want %v", got, want)
	}
	published := []string{"grafana", "haproxy"}
	builtHere := []string{"edge", "ingester", "replay"} // the image says the user and what health is
	for name, s := range project.Services {
		for what, fine := range map[string]bool{
			"read_only":                        s.ReadOnly,
			"cap_drop: [ALL]":                  slices.Equal(s.CapDrop, []string{"ALL"}) && len(s.CapAdd) == 0 && !s.Privileged,
			"no-new-privileges":                slices.Contains(s.SecurityOpt, "no-new-privileges:true"),
			"a numeric user that is not root":  s.User != "" && s.User[0] >= '1' && s.User[0] <= '9' || slices.Contains(builtHere, name),
			"restart":                          s.Restart == "unless-stopped",
			"a limit of memory":                s.MemLimit > 0,
			"a limit of processes":             s.PidsLimit > 0,
			"a limit of its log":               s.Logging != nil && s.Logging.Options["max-size"] != "" && s.Logging.Options["max-file"] != "",
			"a health check":                   s.HealthCheck != nil || slices.Contains(builtHere, name),
			"time to stop":                     s.StopGracePeriod != nil && time.Duration(*s.StopGracePeriod) >= 15*time.Second,
			"ports only where people come in":  (len(s.Ports) > 0) == slices.Contains(published, name),
			"private networks":                 s.NetworkMode == "" && len(s.Networks) > 0,
			"a tag that is pinned":             s.Image != "" && s.Image[len(s.Image)-6:] != "latest",
			"no name that keeps it from scale": s.ContainerName == "",
		} {
			if !fine {
				t.Errorf("%s lacks: %s", name, what)
			}
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q, want 127.0.0.1 unless the operator says otherwise", name, port.Published, port.HostIP)
			}
		}
	}
	if grace := project.Services["edge"].StopGracePeriod; time.Duration(*grace) < 2*13*time.Second {
		t.Errorf("an edge has %v to stop, and takes 13 s to drain with its defaults", grace)
	}
}
