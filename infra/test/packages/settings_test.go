// Package packages tests infra/umbrel and infra/startos against the rules of these systems, as their sources and documents
// state them, and against the settings of our programs. Neither system runs here.
package packages

import (
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"sightglass/edge"
	"sightglass/ingester"
	"sightglass/shared/daemon"
)

const (
	umbrel  = "../../umbrel/"
	startos = "../../startos/"
)

// settings are those of both programs; a package's one program has them together.
type settings struct {
	edge     edge.Options
	ingester ingester.Options
}

// parse reads a container's environment as the programs do, and fails for unknown and invalid settings.
func parse(t *testing.T, env map[string]string) settings {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	var e struct {
		Run struct {
			edge.Options
			daemon.LogOptions
		} `cmd:""`
	}
	var i struct {
		Run struct {
			ingester.Options
			daemon.LogOptions
		} `cmd:""`
	}
	known := map[string]bool{"SIGHTGLASS_DATA_DIR": true}
	for _, commands := range []any{&e, &i} {
		parser, err := daemon.Program{LogComponents: []string{"any"}, LogExample: "any"}.Parser(commands)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse([]string{"run"}); err != nil { // it also calls Validate
			t.Errorf("got %v, want valid settings", err)
		}
		for _, flag := range flags(parser) {
			for _, name := range flag.Envs {
				known[name] = true
			}
		}
	}
	for name := range env {
		if strings.HasPrefix(name, "SIGHTGLASS_") && !known[name] {
			t.Errorf("got an unknown setting %s, want one of the programs'", name)
		}
	}
	return settings{e.Run.Options, i.Run.Options}
}

func flags(parser *kong.Kong) (all []*kong.Flag) {
	for _, command := range parser.Model.Leaves(false) {
		all = append(all, command.Flags...)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
