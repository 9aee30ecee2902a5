// Package packages tests infra/umbrel and infra/startos against the rules of these systems, as their sources and documents
// state them, and against the settings of our programs. Neither system runs here.
package packages

import (
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"sightglass/infra/standalone"
	"sightglass/shared/daemon"
)

const (
	umbrel  = "../../umbrel/"
	startos = "../../startos/"
)

// parse reads a container's environment as the program does, and fails for unknown and invalid settings.
func parse(t *testing.T, env map[string]string) standalone.Options {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	var c struct {
		Run struct {
			standalone.Options
			daemon.LogOptions
		} `cmd:""`
	}
	parser, err := daemon.Program{LogComponents: standalone.LogComponents(), LogExample: "any", Defaults: standalone.Defaults()}.Parser(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"run"}); err != nil { // it also calls Validate
		t.Errorf("got %v, want valid settings", err)
	}
	known := make(map[string]bool)
	for _, flag := range flags(parser) {
		for _, name := range flag.Envs {
			known[name] = true
		}
	}
	for name := range env {
		if strings.HasPrefix(name, "SIGHTGLASS_") && !known[name] {
			t.Errorf("got an unknown setting %s, want one of the program's", name)
		}
	}
	return c.Run.Options
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
