package packages

import (
	"regexp"
	"testing"
)

// TestVersions_Agree: both packages hold the same release, with the images of its tag.
func TestVersions_Agree(t *testing.T) {
	version := *umbrelManifest(t).Version
	if !regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9a-z.]+)?$`).MatchString(version) {
		t.Errorf("got version %q, want MAJOR.MINOR.PATCH", version)
	}
	image := server(t, umbrelProject(t)).Image
	if found := regexp.MustCompile(`^[^@]+/sightglass:v([^@]+)(@sha256:[0-9a-f]{64})?$`).FindStringSubmatch(image); found == nil || found[1] != version {
		t.Errorf("got Umbrel's image %s, want sightglass with the tag v%s, and a digest or none", image, version)
	}
	if got := field(t, "startos/versions/current.ts", `version: '(.*):\d+'`); got != version {
		t.Errorf("got StartOS's version %s, want Umbrel's %s", got, version)
	}
	if got := field(t, "startos/manifest/index.ts", `VERSION: 'v(.*)'`); got != version {
		t.Errorf("got version %s in StartOS's image, want %s", got, version)
	}
}
