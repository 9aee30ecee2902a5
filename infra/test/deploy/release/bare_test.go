//go:build deploy

package release

import (
	"runtime"
	"testing"

	"sightglass/infra/test/internal/machine"
)

// TestArchive_OnBareDebian: a user of a Debian on which nothing was installed unpacks the archive beside a node, and types
// one command: testdata/archive.sh.
func TestArchive_OnBareDebian(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			debian := machine.New(t, suite)
			debian.Bind(archive(release(t), runtime.GOARCH), "/srv/release.tar.gz")
			debian.Bind(recording(t), "/srv/node.jsonl")
			debian.Root("useradd --create-home --shell /bin/bash alice")
			debian.Offline().Must("alice", read(t, "testdata/archive.sh"))
		})
	}
}
