package daemon

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Build identifies a build of Sightglass, in `version` and in the metrics of both daemons, so that different builds in
// a fleet are noticed. No field is empty.
type Build struct {
	Version   string // as it was stamped
	GoVersion string // such as go1.26.1
	Revision  string // of the source: 12 digits, and -dirty if it was changed; unknown if it was built outside of git
}

// unknown is the value of an empty field.
const unknown = "unknown"

// revisionDigits are as many as git itself shows, or more.
const revisionDigits = 12

// BuildOf returns the build of this program, with the version that the linker has set.
func BuildOf(version string) Build {
	b := Build{Version: version, GoVersion: runtime.Version(), Revision: unknown}
	if b.Version == "" {
		b.Version = unknown
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Revision = revision(info.Settings)
	}
	return b
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

// String returns what `version` prints after the program's name.
func (b Build) String() string {
	return fmt.Sprintf("%s revision %s %s %s/%s", b.Version, b.Revision, b.GoVersion, runtime.GOOS, runtime.GOARCH)
}

// RegisterProcess registers the metrics of every program: its build, the Go runtime and the process.
func RegisterProcess(reg prometheus.Registerer, version string) {
	b := BuildOf(version)
	promauto.With(reg).NewGauge(prometheus.GaugeOpts{
		Name: "sightglass_build_info", Help: "1, with the program's version, Go version and revision of the source.",
		ConstLabels: prometheus.Labels{"version": b.Version, "goversion": b.GoVersion, "revision": b.Revision},
	}).Set(1)
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}
