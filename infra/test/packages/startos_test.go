package packages

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sightglass/edge"
)

// The rules are those of github.com/Start9Labs/start-os at 727e4d4 (projects/start-sdk/docs/src and
// shared-libs/crates/start-core/src/s9pk/v2/pack.rs) and of the npm package @start9labs/start-sdk 2.0.9.

// TestStartOS_TypesAreTheSDKs runs what `make` in infra/startos runs before it packs: the type checker and the SDK's rules.
func TestStartOS_TypesAreTheSDKs(t *testing.T) {
	if _, err := os.Stat(startos + "node_modules/@start9labs/start-sdk"); err != nil {
		const reason = "the SDK is not installed: `cd infra/startos && npm ci` installs it"
		fmt.Fprintln(os.Stderr, "SKIPPED:", t.Name()+":", reason)
		t.Skip(reason)
	}
	for _, args := range [][]string{{"npm", "run", "check"}, {"node", "node_modules/@start9labs/start-sdk/lint.mjs"}} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = startos
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: got %v, want success:\n%s", args, err, out)
		}
	}
}

func TestStartOS_RequiredFilesExist(t *testing.T) {
	for _, name := range []string{
		"LICENSE", "Makefile", "README.md", "instructions.md", "package.json", "package-lock.json", "tsconfig.json", "assets/*",
		"startos/actions/index.ts", "startos/backups.ts", "startos/dependencies.ts", "startos/index.ts", "startos/init/index.ts",
		"startos/interfaces.ts", "startos/main.ts", "startos/manifest/index.ts", "startos/sdk.ts", "startos/versions/current.ts",
		"startos/versions/index.ts",
	} {
		if files, err := filepath.Glob(startos + name); err != nil || len(files) == 0 {
			t.Errorf("got no %s, want the file", name)
		}
	}
	const most = 40 << 10
	icons, err := filepath.Glob(startos + "icon.*")
	if err != nil || len(icons) != 1 {
		t.Fatalf("got icons %v, want one", icons)
	}
	if icon := read(t, icons[0]); icon == "" || len(icon) > most {
		t.Errorf("got an icon of %d bytes, want 1 to %d", len(icon), most)
	}
	if got := read(t, startos+"LICENSE"); got != read(t, "../../../LICENSE") {
		t.Error("got another licence, want the repository's")
	}
}

// TestStartOS_PackagesArePinned: a later version of the SDK requires a later StartOS.
func TestStartOS_PackagesArePinned(t *testing.T) {
	var p struct {
		Name            string            `json:"name"`
		Private         bool              `json:"private"`
		Scripts         map[string]string `json:"scripts"`
		Dependencies    map[string]string `json:"dependencies"`
		DevDependencies map[string]string `json:"devDependencies"`
	}
	decoder := json.NewDecoder(strings.NewReader(read(t, startos+"package.json")))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("got %v, want known keys", err)
	}
	if p.Scripts["check"] == "" || p.Scripts["build"] == "" {
		t.Errorf("got scripts %v, want check and build, which the SDK's s9pk.mk runs", p.Scripts)
	}
	sdk := p.Dependencies["@start9labs/start-sdk"]
	if sdk == "" {
		t.Error("got no SDK among the dependencies, want @start9labs/start-sdk")
	}
	if text := read(t, startos+"README.md"); !strings.Contains(text, "`@start9labs/start-sdk` "+sdk) {
		t.Errorf("got a README without SDK %s, want the version of package.json", sdk)
	}
	for _, list := range []map[string]string{p.Dependencies, p.DevDependencies} {
		for name, version := range list {
			if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(version) {
				t.Errorf("got %s %s, want an exact version", name, version)
			}
		}
	}
	if strings.Contains(read(t, startos+"package-lock.json"), `"resolved"`) {
		t.Error("got a registry's addresses in package-lock.json, want none: --omit-lockfile-registry-resolved")
	}
}

// field returns the only match of a pattern's group in a source file.
func field(t *testing.T, file, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, startos+file), -1)
	if len(found) != 1 {
		t.Fatalf("%s: got %d matches of %s, want one", file, len(found), pattern)
	}
	return found[0][1]
}

func TestStartOS_ManifestAgreesWithTheOtherFiles(t *testing.T) {
	const manifest = "startos/manifest/index.ts"
	if got := field(t, manifest, `(?m)^  id: '(.*)',$`); got != appID {
		t.Errorf("got id %q, want %q", got, appID)
	}
	if got := field(t, manifest, `license: '(.*)'`); got != "MIT" {
		t.Errorf("got licence %q, want MIT", got)
	}
	const longest = 80 // of description.short, by ManifestTypes.d.ts
	if got := field(t, manifest, `short: "(.*)"`); len(got) > longest {
		t.Errorf("got a short description of %d characters, want at most %d", len(got), longest)
	}
	volume, image := field(t, manifest, `volumes: \['(.*)'\]`), field(t, manifest, `(?m)images: \{\n    (\w+): \{`)
	for file, pattern := range map[string]string{
		"startos/backups.ts": `Backups\.ofVolumes\('(.*)'\)`,
		"startos/main.ts":    `mountVolume\(\{\s+volumeId: '(.*)'`,
	} {
		if got := field(t, file, pattern); got != volume {
			t.Errorf("%s: got volume %q, want the manifest's %q", file, got, volume)
		}
	}
	if got := field(t, "startos/main.ts", `imageId: '(.*)'`); got != image {
		t.Errorf("got image %q, want the manifest's %q", got, image)
	}
	arches := strings.NewReplacer("x86_64", "x86", "aarch64", "arm", "'", "", ",", "").Replace(field(t, manifest, `arch: \[(.*)\]`))
	if got := field(t, "Makefile", `(?m)^ARCHES := (.*)$`); got != arches {
		t.Errorf("got ARCHES %q, want the manifest's %q", got, arches)
	}
	dependency := field(t, "startos/utils.ts", `packageId: '(.*)'`)
	for _, file := range []string{manifest, "startos/dependencies.ts"} {
		field(t, file, `(?m)^    (`+dependency+`): \{$`)
	}
}

func TestStartOS_ImageIsBuiltFromTheRepository(t *testing.T) {
	const manifest = "startos/manifest/index.ts"
	workdir := filepath.Join(startos, field(t, manifest, `workdir: '(.*)'`))
	if _, err := os.Stat(workdir + "/go.work"); err != nil {
		t.Errorf("got %v, want the build's context to be the repository", err)
	}
	if got := filepath.Join(startos, field(t, manifest, `dockerfile: '(.*)'`)); got != "../../Dockerfile" {
		t.Errorf("got the file %s, want infra/Dockerfile", got)
	}
}

// startosEnvironment returns the container's environment, with the values that the expressions in main.ts have.
func startosEnvironment(t *testing.T) map[string]string {
	t.Helper()
	const osIP = "10.0.3.1"
	values := strings.NewReplacer(
		"${uiPort}", field(t, "startos/utils.ts", `uiPort = (\d+)`), "${rpc}", osIP+":8332", "${zmq}", osIP+":28333",
		"await sdk.getOsIp(effects)", osIP, "'", "", "`", "")
	env := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^ +(SIGHTGLASS_\w+): (.+),$`).FindAllStringSubmatch(read(t, startos+"startos/main.ts"), -1) {
		env[found[1]] = values.Replace(found[2])
		if strings.ContainsAny(env[found[1]], "$(") {
			t.Errorf("%s: got the value %s, want an expression that is known here", found[1], found[2])
		}
	}
	if got, want := len(env), strings.Count(read(t, startos+"startos/main.ts"), "SIGHTGLASS_"); got != want {
		t.Errorf("got %d settings, want all %d of main.ts", got, want)
	}
	return env
}

func TestStartOS_SettingsAreValid(t *testing.T) {
	env := startosEnvironment(t)
	s := parse(t, env)
	if got, want := s.RPC, "http://10.0.3.1:8332"; got != want {
		t.Errorf("got RPC %s, want %s", got, want)
	}
	if got, want := s.ZMQ, []string{"tcp://10.0.3.1:28333"}; !slices.Equal(got, want) {
		t.Errorf("got ZMQ %v, want rawtx and sequence at %v", got, want)
	}
	mounts := regexp.MustCompile(`mountpoint: '(.*)'`).FindAllStringSubmatch(read(t, startos+"startos/main.ts"), -1)
	if len(mounts) != 2 || env["SIGHTGLASS_DATA_DIR"] != mounts[0][1] || filepath.Dir(s.RPCCookie) != mounts[1][1] {
		t.Errorf("got mounts %v, data in %s, cookie %s; want both in mounts", mounts, env["SIGHTGLASS_DATA_DIR"], s.RPCCookie)
	}
	if got := s.TrustedProxies; !slices.Equal(got, []string{"10.0.3.1"}) {
		t.Errorf("got trusted proxies %v, want StartOS alone", got)
	}
	if s.MaxClients > 1000 {
		t.Errorf("got %d streams in total, want at most 1000: onion visitors can choose their address", s.MaxClients)
	}
	if s.MaxHeaderBytes <= edge.Defaults().MaxHeaderBytes {
		t.Errorf("got %d bytes for headers, want more than the default: they have the cookies of all services", s.MaxHeaderBytes)
	}
}

func TestStartOS_StopsAfterTheDrain(t *testing.T) {
	s := parse(t, startosEnvironment(t))
	timeout, err := strconv.Atoi(strings.ReplaceAll(field(t, "startos/main.ts", `sigtermTimeout: ([\d_]+)`), "_", ""))
	if drain := s.DrainDelay + s.DrainWindow + s.Grace; err != nil || int64(timeout) <= drain.Milliseconds()+1000 {
		t.Errorf("got sigtermTimeout %d ms, error %v; want more than the drain's %v", timeout, err, drain)
	}
}
