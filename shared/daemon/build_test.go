package daemon

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestBuild_Revision(t *testing.T) {
	for name, c := range map[string]struct {
		settings []debug.BuildSetting
		want     string
	}{
		"outside of git": {nil, "unknown"},
		"clean":          {[]debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}, {Key: "vcs.modified", Value: "false"}}, "0123456789ab"},
		"changed":        {[]debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "0123456789abcdef"}}, "0123456789ab-dirty"},
		"short":          {[]debug.BuildSetting{{Key: "vcs.revision", Value: "0123"}}, "0123"},
		"no revision":    {[]debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := revision(c.settings); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestBuild_NoFieldIsEmpty(t *testing.T) {
	if i := BuildOf(""); i.Version != "unknown" || i.GoVersion != runtime.Version() || i.Revision == "" {
		t.Errorf("got %+v, want no empty field", i)
	}
}
