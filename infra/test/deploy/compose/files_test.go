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

// nodeSettings is the settings file for a real node.
const nodeSettings = "infra/bitcoin/node.env"

// load reads docker-compose.yml with a settings file, by Compose v2's own library.
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

// TestCompose_V1ReadsTheFiles: Debian 12's Compose v1 parses every profile.
func TestCompose_V1ReadsTheFiles(t *testing.T) {
	if _, err := exec.LookPath("docker-compose"); err != nil {
		programs.SkipOrFail(t, "docker-compose is not installed: `make test-deploy` installs it")
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

// TestCompose_NodeReplacesReplay: the node runs instead of the replay only with its settings.
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
			t.Errorf("%s: got a bitcoind: %v, want %v", settings, got, c.bitcoind)
		}
		if got := project.Services["replay"].Deploy.Replicas; got == nil || *got != c.replays {
			t.Errorf("%s: got %v replays, want %d", settings, got, c.replays)
		}
		if got := *project.Services["ingester"].Environment["SIGHTGLASS_ZMQ"]; got != c.zmq {
			t.Errorf("%s: got ingester endpoint %s, want %s", settings, got, c.zmq)
		}
	}
}

// TestCompose_EveryServiceIsHardened covers services that are added later, too.
func TestCompose_EveryServiceIsHardened(t *testing.T) {
	project := load(t, noSettings(t), "node", "watch")
	want := []string{"bitcoind", "edge", "grafana", "haproxy", "ingester", "prometheus", "redis", "replay"}
	if got := project.ServiceNames(); !slices.Equal(got, want) {
		t.Errorf("got services %v, want %v", got, want)
	}
	published := []string{"grafana", "haproxy"}
	builtHere := []string{"edge", "ingester", "replay"} // the image sets the user and the health check
	for name, s := range project.Services {
		for what, fine := range map[string]bool{
			"read_only":                       s.ReadOnly,
			"cap_drop: [ALL]":                 slices.Equal(s.CapDrop, []string{"ALL"}) && len(s.CapAdd) == 0 && !s.Privileged,
			"no-new-privileges":               slices.Contains(s.SecurityOpt, "no-new-privileges:true"),
			"a numeric user that is not root": s.User != "" && s.User[0] >= '1' && s.User[0] <= '9' || slices.Contains(builtHere, name),
			"restart":                         s.Restart == "unless-stopped",
			"a memory limit":                  s.MemLimit > 0,
			"a process limit":                 s.PidsLimit > 0,
			"a log limit":                     s.Logging != nil && s.Logging.Options["max-size"] != "" && s.Logging.Options["max-file"] != "",
			"a health check":                  s.HealthCheck != nil || slices.Contains(builtHere, name),
			"time to stop":                    s.StopGracePeriod != nil && time.Duration(*s.StopGracePeriod) >= 15*time.Second,
			"ports only where published":      (len(s.Ports) > 0) == slices.Contains(published, name),
			"private networks":                s.NetworkMode == "" && len(s.Networks) > 0,
			"a pinned tag":                    s.Image != "" && s.Image[len(s.Image)-6:] != "latest",
			"no container name, for scaling":  s.ContainerName == "",
		} {
			if !fine {
				t.Errorf("%s: got no %s", name, what)
			}
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: got port %s published on %q, want the default 127.0.0.1", name, port.Published, port.HostIP)
			}
		}
	}
	if grace := project.Services["edge"].StopGracePeriod; time.Duration(*grace) < 2*13*time.Second {
		t.Errorf("got stop_grace_period %v for an edge, want more than the default drain of 13 s", grace)
	}
}
