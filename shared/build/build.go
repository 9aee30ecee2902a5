// Package build says which build of Sightglass a program is, the same in `version` and in the metrics of both daemons,
// so that a fleet that is not of one build is seen.
package build

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Info names a build. Nothing in it is empty.
type Info struct {
	Version   string // as it was stamped
	GoVersion string // such as go1.26.1
	Revision  string // of the source: 12 digits, and -dirty if it was changed; unknown if it was built outside of git
}

// unknown stands for what nobody has stamped.
const unknown = "unknown"

// revisionDigits are as many as git itself shows, or more.
const revisionDigits = 12

// Of is the build of this program, with the version that it was stamped with.
func Of(version string) Info {
	i := Info{Version: version, GoVersion: runtime.Version(), Revision: unknown}
	if i.Version == "" {
		i.Version = unknown
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		i.Revision = revision(b.Settings)
	}
	return i
}

func revision(settings []debug.BuildSetting) string {
	revision, dirty := "", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), revisionDigits)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return unknown
	}
	return revision + dirty
}

// String is what `version` prints after the program's name.
func (i Info) String() string {
	return fmt.Sprintf("%s revision %s %s %s/%s", i.Version, i.Revision, i.GoVersion, runtime.GOOS, runtime.GOARCH)
}
