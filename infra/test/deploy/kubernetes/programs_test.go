//go:build deploy

package kubernetes

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
)

// TestPods_SettingsAreValid: the programs know and accept every setting of their containers.
func TestPods_SettingsAreValid(t *testing.T) {
	everything(t, func(t *testing.T, o *objects) {
		for _, name := range []string{"edge", "ingester"} {
			c := o.pod(t, name).container(t)
			if !slices.Equal(c.Args, []string{"run"}) || len(c.Command) > 0 {
				t.Errorf("%s: got command %v %v, want the image's program with run", name, c.Command, c.Args)
			}
			help := output(t, exec.Command(programs.Build(t, name, name), "run", "--help"))
			cmd := exec.Command(programs.Build(t, name, name), "checkconfig")
			cmd.Env = []string{} // not the test's own
			for k, v := range o.environment(t, c) {
				cmd.Env = append(cmd.Env, k+"="+v)
				if strings.HasPrefix(k, "SIGHTGLASS_") && !regexp.MustCompile(`\$`+k+`\b`).MatchString(help) {
					t.Errorf("%s: got an unknown setting %s", name, k)
				}
			}
			output(t, cmd)
			listens(t, o, c)
		}
	})
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: got %v, want success:\n%s", cmd.Args[1:], err, out)
	}
	return string(out)
}

// listens checks that the container's ports are those of its settings.
func listens(t *testing.T, o *objects, c corev1.Container) {
	t.Helper()
	env := o.environment(t, c)
	for setting, port := range map[string]string{"SIGHTGLASS_LISTEN": "http", "SIGHTGLASS_INTERNAL_LISTEN": "metrics"} {
		i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == port })
		if env[setting] == "" && i < 0 {
			continue // the ingester has no public port
		}
		if i < 0 || env[setting] != fmt.Sprintf(":%d", c.Ports[i].ContainerPort) {
			t.Errorf("%s: got %s %q, ports %v, want them to match", c.Name, setting, env[setting], c.Ports)
		}
	}
}

// TestPods_GracePeriodExceedsDrain uses the pods' settings and the defaults.
func TestPods_GracePeriodExceedsDrain(t *testing.T) {
	everything(t, func(t *testing.T, o *objects) {
		p := o.pod(t, "edge")
		env := o.environment(t, p.container(t))
		var settings edge.Options
		parser, err := kong.New(&settings, kong.DefaultEnvars("SIGHTGLASS"))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range env {
			t.Setenv(k, v)
		}
		if _, err := parser.Parse(nil); err != nil {
			t.Fatal(err)
		}
		drain := settings.DrainDelay + settings.DrainWindow + settings.Grace
		if grace := time.Duration(*p.Spec.TerminationGracePeriodSeconds) * time.Second; grace <= drain+time.Second {
			t.Errorf("got grace period %v, want more than the drain's %v", grace, drain)
		}
		readiness := p.container(t).ReadinessProbe
		noticed := time.Duration(readiness.PeriodSeconds*readiness.FailureThreshold) * time.Second
		if settings.DrainDelay <= noticed {
			t.Errorf("got drain delay %v, want more than the %v until the readiness probe fails", settings.DrainDelay, noticed)
		}
	})
}

// TestExample_Runs runs the example without Kubernetes: its Redis with its users, an ingester and an edge with their
// settings, at local addresses. It also checks the metric of the autoscaler.
func TestExample_Runs(t *testing.T) {
	dir := tree(t)
	o := built(t, filepath.Join(dir, "overlays/example"))
	redis := startRedis(t, o)

	local := func(name string, also ...string) {
		for k, v := range o.environment(t, o.pod(t, name).container(t)) {
			t.Setenv(k, strings.Replace(v, "@redis:6379", "@"+redis, 1))
		}
		for i := 0; i < len(also); i += 2 {
			t.Setenv(also[i], also[i+1])
		}
	}
	zmq := "tcp://" + programs.FreeAddr(t)
	local("ingester", "SIGHTGLASS_ZMQ", zmq, "SIGHTGLASS_RPC", "", "SIGHTGLASS_RPC_USER", "", "SIGHTGLASS_RPC_PASSWORD", "", "SIGHTGLASS_INTERNAL_LISTEN", "")
	programs.Launch(t, programs.Build(t, "ingester", "ingester"), "run")
	addr, internal := programs.FreeAddr(t), programs.FreeAddr(t)
	local("edge", "SIGHTGLASS_LISTEN", addr, "SIGHTGLASS_INTERNAL_LISTEN", internal, "SIGHTGLASS_DRAIN_DELAY", "0", "SIGHTGLASS_DRAIN_WINDOW", "0")
	programs.Launch(t, programs.Build(t, "edge", "edge"), "run")
	programs.Until(t, "the edge to be ready with the example's users in Redis", func() bool { return programs.Ready(addr) })

	metric := o.autoscalers["edge"].Spec.Metrics[0].Pods.Metric.Name
	text, err := programs.Get("http://" + internal + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^` + metric + `\{`).Match(text) {
		t.Errorf("got no metric %s of an edge, want it for the autoscaler", metric)
	}
	if answer, err := http.Get("http://" + addr + "/metrics"); err != nil || answer.StatusCode != http.StatusNotFound {
		t.Errorf("/metrics on the public port: got %v, %v, want 404", answer, err)
	}

	var adapter struct {
		Rules struct {
			Custom []struct {
				SeriesQuery string
				Name        struct{ As string }
			}
		}
	}
	rule, err := os.ReadFile(filepath.Join(dir, "components/autoscaling/prometheus-adapter.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(rule, &adapter); err != nil {
		t.Fatal(err)
	}
	if c := adapter.Rules.Custom; len(c) != 1 || c[0].Name.As != metric || !strings.HasPrefix(c[0].SeriesQuery, metric+"{") {
		t.Errorf("got %v from the adapter, want the autoscaler's %s", c, metric)
	}
}

// startRedis starts a server with the example's settings and users, and returns its address.
func startRedis(t *testing.T, o *objects) string {
	t.Helper()
	dir, addr := t.TempDir(), programs.FreeAddr(t)
	p := o.pod(t, "redis")
	mounted := map[string]string{} // path in the pod: local path
	for _, m := range p.container(t).VolumeMounts {
		mounted[m.MountPath] = filepath.Join(dir, m.Name)
		if err := os.Mkdir(mounted[m.MountPath], 0o700); err != nil {
			t.Fatal(err)
		}
		for _, v := range p.Spec.Volumes {
			if v.Name != m.Name {
				continue
			}
			if v.ConfigMap != nil {
				for file, text := range o.configs[v.ConfigMap.Name].Data {
					write(t, filepath.Join(dir, m.Name, file), text)
				}
			} else {
				for file, text := range o.secrets[v.Secret.SecretName].Data {
					write(t, filepath.Join(dir, m.Name, file), string(text))
				}
			}
		}
	}
	here := func(path string) string { return filepath.Join(mounted[filepath.Dir(path)], filepath.Base(path)) }
	command := p.container(t).Command
	config, err := os.ReadFile(here(command[1]))
	if err != nil {
		t.Fatal(err)
	}
	settings := strings.Replace(string(config), "dir /data\n", "dir "+mounted["/data"]+"\n", 1)
	users := regexp.MustCompile(`(?m)^aclfile (\S+)$`).FindStringSubmatch(settings)
	if users == nil {
		t.Fatal("got no aclfile in redis.conf, want one")
	}
	settings = strings.Replace(settings, users[1], here(users[1]), 1)
	write(t, here(command[1]), settings)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	programs.Launch(t, command[0], here(command[1]), "--bind", host, "--port", port)
	programs.Until(t, "redis", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	return addr
}

// TestSecrets_AreKept: a second make-secrets changes no password, and the node accepts the RPC password.
func TestSecrets_AreKept(t *testing.T) {
	dir := filepath.Dir(tree(t))
	secrets := filepath.Join(dir, "kubernetes/overlays/example/secrets")
	read := func(file string) string {
		text, err := os.ReadFile(filepath.Join(secrets, file))
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(secrets, file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v, %v, want a private file", file, info, err)
		}
		return string(text)
	}
	before := read("edge.env") + read("ingester.env") + read("users.acl")
	printed := makeSecrets(t, dir)
	if after := read("edge.env") + read("ingester.env") + read("users.acl"); after != before {
		t.Error("got changed passwords, want the same")
	}
	auth := regexp.MustCompile(`(?m)^rpcauth=sightglass:([0-9a-f]+)\$([0-9a-f]+)$`).FindStringSubmatch(printed)
	if auth == nil {
		t.Fatalf("got no rpcauth in %q", printed)
	}
	mac := hmac.New(sha256.New, []byte(auth[1])) // as bitcoind's rpcauth.py does
	mac.Write([]byte(read("rpc.password")))
	if hex.EncodeToString(mac.Sum(nil)) != auth[2] {
		t.Error("got an rpcauth of another password, want the secret's")
	}
	ignored, err := os.ReadFile(filepath.Join(dir, "kubernetes/.gitignore"))
	if err != nil || !strings.Contains(string(ignored), "overlays/*/secrets/") {
		t.Errorf("got no rule in .gitignore for the secrets, error %v, want one", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// convert decodes untyped fields into a struct.
func convert(t *testing.T, from, to any) {
	t.Helper()
	text, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatal(err)
	}
}
