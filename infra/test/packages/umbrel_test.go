package packages

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"

	"sightglass/edge"
)

// The rules are those of github.com/getumbrel/umbrel-apps at 6372367 (.tools/lint-apps.mjs and
// .claude/skills/umbrel-package-app/SKILL.md) and of github.com/getumbrel/umbrel at 2a47942
// (packages/umbreld/source/modules/apps: schema.ts and legacy-compat).

// appID is also the name of the folder in the store.
const appID = "sightglass"

// A manifest has the fields of umbrel-app.yml that an app without an icon, widgets, hooks or permissions has. An empty
// string is a value, so required fields are pointers.
type manifest struct {
	ManifestVersion *float64  `json:"manifestVersion"`
	ID              *string   `json:"id"`
	Category        *string   `json:"category"`
	Name            *string   `json:"name"`
	Version         *string   `json:"version"`
	Tagline         *string   `json:"tagline"`
	Description     *string   `json:"description"`
	ReleaseNotes    *string   `json:"releaseNotes"`
	Developer       *string   `json:"developer"`
	Website         *string   `json:"website"`
	Dependencies    *[]string `json:"dependencies"`
	Repo            *string   `json:"repo"`
	Support         *string   `json:"support"`
	Port            *int      `json:"port"`
	Gallery         *[]string `json:"gallery"`
	Path            *string   `json:"path"`
	DefaultUsername string    `json:"defaultUsername"`
	DefaultPassword string    `json:"defaultPassword"`
	Submitter       *string   `json:"submitter"`
	Submission      *string   `json:"submission"`
}

// umbrelManifest decodes umbrel-app.yml strictly: an unknown or repeated key and a value of another type fail.
func umbrelManifest(t *testing.T) manifest {
	t.Helper()
	var m manifest
	if err := yaml.UnmarshalStrict([]byte(read(t, umbrel+"umbrel-app.yml")), &m); err != nil {
		t.Fatalf("got %v, want a manifest with known keys", err)
	}
	for name, missing := range map[string]bool{
		"manifestVersion": m.ManifestVersion == nil, "id": m.ID == nil, "category": m.Category == nil, "name": m.Name == nil,
		"version": m.Version == nil, "tagline": m.Tagline == nil, "description": m.Description == nil,
		"releaseNotes": m.ReleaseNotes == nil, "developer": m.Developer == nil, "website": m.Website == nil,
		"dependencies": m.Dependencies == nil, "repo": m.Repo == nil, "support": m.Support == nil, "port": m.Port == nil,
		"gallery": m.Gallery == nil, "path": m.Path == nil, "submitter": m.Submitter == nil, "submission": m.Submission == nil,
	} {
		if missing {
			t.Errorf("got no %s, want the required field", name)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return m
}

func TestUmbrelManifest_FollowsTheStoresRules(t *testing.T) {
	m := umbrelManifest(t)
	for name, text := range map[string]string{
		"name": *m.Name, "version": *m.Version, "tagline": *m.Tagline, "description": *m.Description, "support": *m.Support,
		"developer": *m.Developer, "submitter": *m.Submitter,
	} {
		if strings.TrimSpace(text) == "" {
			t.Errorf("got an empty %s, want text", name)
		}
	}
	for name, address := range map[string]string{"website": *m.Website, "repo": *m.Repo, "submission": *m.Submission} {
		if u, err := url.Parse(address); err != nil || u.Scheme != "https" || u.Host == "" {
			t.Errorf("got %s %q, want an https address", name, address)
		}
	}
	if *m.ManifestVersion != 1 {
		t.Errorf("got manifestVersion %v, want 1: no later feature is used", *m.ManifestVersion)
	}
	if *m.ID != appID {
		t.Errorf("got id %q, want %q", *m.ID, appID)
	}
	categories := []string{"ai", "automation", "bitcoin", "crypto", "developer", "files", "finance", "media", "networking", "social"}
	if !slices.Contains(categories, *m.Category) {
		t.Errorf("got category %q, want one of %v", *m.Category, categories)
	}
	if !slices.Equal(*m.Dependencies, []string{"bitcoin"}) {
		t.Errorf("got dependencies %v, want bitcoin", *m.Dependencies)
	}
	if *m.Path != "" || m.DefaultUsername != "" || m.DefaultPassword != "" {
		t.Errorf("got path %q, user %q, password %q; want none: the dashboard is at the root and has no login", *m.Path, m.DefaultUsername, m.DefaultPassword)
	}
	if *m.ReleaseNotes != "" || len(*m.Gallery) > 0 {
		t.Errorf("got releaseNotes %q, gallery %v; want none for a new app", *m.ReleaseNotes, *m.Gallery)
	}
}

func TestUmbrelManifest_PortIsFree(t *testing.T) {
	port := *umbrelManifest(t).Port
	if port < 1024 || port > 65535 {
		t.Errorf("got port %d, want 1024 to 65535", port)
	}
	taken := portsOf(read(t, "testdata/umbrel-ports.txt"))
	if len(taken) < 500 || !taken["8332"] || !taken["2000"] {
		t.Fatalf("got %d taken ports, want those of umbrelOS and of all apps", len(taken))
	}
	if taken[strconv.Itoa(port)] {
		t.Errorf("got port %d of another app, want a free one", port)
	}
}

func portsOf(text string) map[string]bool {
	ports := map[string]bool{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, port := range strings.Fields(line) {
			ports[port] = true
		}
	}
	return ports
}

// exported are the variables that a compose file may use, with values as on an Umbrel.
//
// APP_BITCOIN_* are those of bitcoin/exports.sh that bitcoin-knots/exports.sh exports too, in its list of variables: users
// may select that app instead. APP_BITCOIN_IPC_ENABLED and APP_BITCOIN_IPC_SOCKET_RELATIVE_PATH are missing there. The
// others are umbrelOS's own (legacy-compat/app-script).
var exported = map[string]string{
	"APP_BITCOIN_NODE_IP":            "10.21.21.8",
	"APP_BITCOIN_TOR_PROXY_IP":       "10.21.22.10",
	"APP_BITCOIN_I2P_DAEMON_IP":      "10.21.22.11",
	"APP_BITCOIN_DATA_DIR":           "/umbrel/app-data/bitcoin/data/bitcoin",
	"APP_BITCOIN_RPC_PORT":           "8332",
	"APP_BITCOIN_P2P_PORT":           "8333",
	"APP_BITCOIN_P2P_WHITEBIND_PORT": "8335",
	"APP_BITCOIN_TOR_PORT":           "8334",
	"APP_BITCOIN_ZMQ_RAWBLOCK_PORT":  "28332",
	"APP_BITCOIN_ZMQ_RAWTX_PORT":     "28333",
	"APP_BITCOIN_ZMQ_HASHBLOCK_PORT": "28334",
	"APP_BITCOIN_ZMQ_SEQUENCE_PORT":  "28335",
	"APP_BITCOIN_ZMQ_HASHTX_PORT":    "28336",
	"APP_BITCOIN_NETWORK":            "mainnet",
	"APP_BITCOIN_RPC_USER":           "umbrel",
	"APP_BITCOIN_RPC_PASS":           "password",
	"APP_BITCOIN_RPC_HIDDEN_SERVICE": "rpc.onion",
	"APP_BITCOIN_P2P_HIDDEN_SERVICE": "p2p.onion",
	"APP_BITCOIN_NETWORK_ELECTRS":    "bitcoin",

	"APP_DATA_DIR": "/umbrel/app-data/sightglass",
	"NETWORK_IP":   "10.21.0.0",
}

var variable = regexp.MustCompile(`\$\{?([A-Za-z_][A-Za-z0-9_]*)`)

func TestUmbrelCompose_VariablesAreExported(t *testing.T) {
	used := 0
	for line := range strings.Lines(read(t, umbrel+"docker-compose.yml")) {
		code, _, _ := strings.Cut(line, " #")
		if strings.HasPrefix(strings.TrimSpace(code), "#") {
			continue
		}
		for _, found := range variable.FindAllStringSubmatch(code, -1) {
			used++
			if exported[found[1]] == "" {
				t.Errorf("got the variable %s, want one that umbrelOS or the app bitcoin exports", found[1])
			}
		}
	}
	if used < 8 {
		t.Errorf("got %d variables, want those of RPC, ZMQ and the data folder", used)
	}
}

// umbrelProject loads docker-compose.yml over a service app_proxy, as umbrelOS does. Compose's library rejects unknown keys.
func umbrelProject(t *testing.T) *types.Project {
	t.Helper()
	proxy := filepath.Join(t.TempDir(), "app_proxy.yml")
	if err := os.WriteFile(proxy, []byte("services: {app_proxy: {image: app-proxy}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := filepath.Abs(umbrel + "docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	env := make([]string, 0, len(exported))
	for k, v := range exported {
		env = append(env, k+"="+v)
	}
	options, err := cli.NewProjectOptions([]string{proxy, file}, cli.WithName(appID), cli.WithEnv(env))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("got %v, want a valid compose file", err)
	}
	return project
}

func environment(s types.ServiceConfig) map[string]string {
	env := map[string]string{}
	for k, v := range s.Environment {
		if v != nil {
			env[k] = *v
		}
	}
	return env
}

// server returns the service that app_proxy forwards to, by the container's name that umbrelOS sets.
func server(t *testing.T, project *types.Project) types.ServiceConfig {
	t.Helper()
	host := environment(project.Services["app_proxy"])["APP_HOST"]
	for name, s := range project.Services {
		if name != "app_proxy" && host == appID+"_"+name+"_1" {
			return s
		}
	}
	t.Fatalf("got APP_HOST %q, want %s_SERVICE_1 of a service of the file", host, appID)
	return types.ServiceConfig{}
}

func TestUmbrelCompose_FollowsTheStoresRules(t *testing.T) {
	project := umbrelProject(t)
	if got := project.ServiceNames(); len(got) != 2 || len(project.Volumes) > 0 || len(project.Networks) != 1 {
		t.Errorf("got services %v, volumes %v, networks %v; want app_proxy, one service, and umbrelOS's network", got, project.Volumes, project.Networks)
	}
	s := server(t, project)
	for what, fine := range map[string]bool{
		"restart: on-failure":            s.Restart == "on-failure",
		"the user of the app's folders":  s.User == "1000:1000",
		"an image instead of a build":    s.Build == nil && s.Image != "",
		"no ports beside app_proxy's":    len(s.Ports) == 0,
		"no container name":              s.ContainerName == "",
		"no rights on the host":          !s.Privileged && s.NetworkMode == "" && len(s.Devices) == 0 && len(s.CapAdd) == 0 && len(s.SecurityOpt) == 0 && s.Pid == "" && s.Ipc == "",
		"the image's command":            s.Command == nil && s.Entrypoint == nil,
		"one volume, at the data folder": len(s.Volumes) == 1 && s.Volumes[0].Target == environment(s)["SIGHTGLASS_DATA_DIR"],
	} {
		if !fine {
			t.Errorf("%s: want %s", s.Name, what)
		}
	}
	for _, v := range s.Volumes {
		folder, inside := strings.CutPrefix(v.Source, exported["APP_DATA_DIR"]+"/data")
		if !inside || v.Type != types.VolumeTypeBind {
			t.Errorf("got the volume %s, want a folder in ${APP_DATA_DIR}/data", v.Source)
		}
		if _, err := os.Stat(filepath.Join(umbrel, "data", folder, ".gitkeep")); err != nil {
			t.Errorf("got %v, want the folder in the package: otherwise Docker creates it for root", err)
		}
	}
}

func TestUmbrelProxy_ReachesTheDashboard(t *testing.T) {
	project := umbrelProject(t)
	proxy, env := environment(project.Services["app_proxy"]), environment(server(t, project))
	if listen := env["SIGHTGLASS_LISTEN"]; listen != ":"+proxy["APP_PORT"] {
		t.Errorf("got SIGHTGLASS_LISTEN %q, APP_PORT %q; want the same port on all addresses", listen, proxy["APP_PORT"])
	}
	if got := proxy["PROXY_AUTH_ADD"]; got != "false" {
		t.Errorf("got PROXY_AUTH_ADD %q, want false: wallets cannot log in", got)
	}
	for name := range proxy {
		if !slices.Contains([]string{"APP_HOST", "APP_PORT", "PROXY_AUTH_ADD"}, name) {
			t.Errorf("got %s of app_proxy, want none that is not checked here", name)
		}
	}
}

func TestUmbrelCompose_SettingsAreValid(t *testing.T) {
	s := parse(t, environment(server(t, umbrelProject(t))))
	if got, want := s.RPC, "http://10.21.21.8:8332"; got != want {
		t.Errorf("got RPC %s, want %s", got, want)
	}
	if s.RPCUser != exported["APP_BITCOIN_RPC_USER"] || s.RPCPassword != exported["APP_BITCOIN_RPC_PASS"] {
		t.Errorf("got RPC user %q, password %q; want those of the app bitcoin", s.RPCUser, s.RPCPassword)
	}
	if got, want := s.ZMQ, []string{"tcp://10.21.21.8:28333", "tcp://10.21.21.8:28335"}; !slices.Equal(got, want) {
		t.Errorf("got ZMQ %v, want rawtx and sequence at %v", got, want)
	}
}

// TestUmbrelLimits_AllowForTheProxy: containers/app-proxy/utils/proxy.js sets X-Forwarded-For in onProxyReq and not in
// onProxyReqWs, so all WebSockets have one address, and a header with one is the client's own.
func TestUmbrelLimits_AllowForTheProxy(t *testing.T) {
	s := parse(t, environment(server(t, umbrelProject(t))))
	if len(s.TrustedProxies) > 0 {
		t.Errorf("got trusted proxies %v, want none", s.TrustedProxies)
	}
	if least := 5 * edge.Defaults().MaxPerAddress; s.MaxPerAddress < least {
		t.Errorf("got %d streams per address, want at least %d for all visitors together", s.MaxPerAddress, least)
	}
	if s.MaxHeaderBytes <= edge.Defaults().MaxHeaderBytes {
		t.Errorf("got %d bytes for headers, want more than the default: they have the cookies of all apps", s.MaxHeaderBytes)
	}
}

func TestUmbrelCompose_StopsAfterTheDrain(t *testing.T) {
	service := server(t, umbrelProject(t))
	s := parse(t, environment(service))
	drain := s.DrainDelay + s.DrainWindow + s.Grace
	if service.StopGracePeriod == nil || time.Duration(*service.StopGracePeriod) <= drain+time.Second {
		t.Errorf("got stop_grace_period %v, want more than the drain's %v", service.StopGracePeriod, drain)
	}
}
