package daemon

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var program = Program{
	Name: "program", Version: "1.2.3", HealthURL: "http://127.0.0.1:1/readyz",
	LogComponents: []string{"feed", "hub"}, LogExample: "hub",
	Defaults: map[string]string{"price-hint": "5"},
	OldVariables: []OldVariable{
		{Name: "SIGHTGLASS_OLD", New: "SIGHTGLASS_PRICE_HINT"},
		{Name: "SIGHTGLASS_GONE", Instead: "nothing is better"},
	},
}

// showCommand stores the arguments of Run.
type showCommand struct {
	RedisOptions `set:"snapshots=go to"`
	PriceHint    int
	LogOptions

	ctx      context.Context
	program  Program
	warnings Warnings
}

func (c *showCommand) Run(ctx context.Context, p Program, warnings Warnings) error {
	c.ctx, c.program, c.warnings = ctx, p, warnings
	return nil
}

type testCommands struct {
	Show    showCommand    `cmd:""`
	Run     showCommand    `cmd:""`
	Export  showCommand    `cmd:""`
	Health  HealthCommand  `cmd:""`
	Version VersionCommand `cmd:""`
}

func show(t *testing.T, args ...string) showCommand {
	t.Helper()
	var commands testCommands
	if err := program.run(append([]string{"show"}, args...), &commands); err != nil {
		t.Fatal(err)
	}
	return commands.Show
}

func TestProgram_SettingsPrecedence(t *testing.T) {
	t.Setenv("SIGHTGLASS_REDIS_CA", "ca.pem")
	t.Setenv("SIGHTGLASS_LOG_FORMAT", "json")
	got := show(t, "--log-format", "text", "--log-level", "error,feed=debug")
	if got.Redis != "redis://127.0.0.1:6379" || got.RedisCA != "ca.pem" || got.LogFormat != "text" {
		t.Errorf("got %+v, want the flag, the variable and the default", got)
	}
	if got.ctx == nil || got.program.Name != "program" || got.warnings != nil {
		t.Errorf("got the context %v, the program %+v and the warnings %q in Run, want the program's and no warning", got.ctx, got.program, got.warnings)
	}
	var out bytes.Buffer
	log := got.Logger(&out)
	log.Info("of all")
	log.With(Component, "feed").Debug("of feed")
	if s := out.String(); strings.Contains(s, "of all") || !strings.Contains(s, "level=DEBUG msg=\"of feed\" component=feed") {
		t.Errorf("got log %q, want feed's line alone", s)
	}
}

// TestProgram_DefaultsOfRun: a program's own defaults are those of run and export, below the environment and flags.
func TestProgram_DefaultsOfRun(t *testing.T) {
	hint := func(args ...string) int {
		var commands testCommands
		if err := program.run(args, &commands); err != nil {
			t.Fatal(err)
		}
		switch args[0] {
		case "run":
			return commands.Run.PriceHint
		case "export":
			return commands.Export.PriceHint
		}
		return commands.Show.PriceHint
	}
	if got := [...]int{hint("run"), hint("export"), hint("run", "--price-hint", "6"), hint("show")}; got != [...]int{5, 5, 6, 0} {
		t.Errorf("got %v, want the program's default for run and export, a flag, and the tag's default for another command", got)
	}
	t.Setenv("SIGHTGLASS_PRICE_HINT", "7")
	if got := hint("run"); got != 7 {
		t.Errorf("got %d, want the environment's", got)
	}
}

func TestProgram_RejectsUnknownComponents(t *testing.T) {
	parser, err := program.Parser(new(testCommands))
	if err != nil {
		t.Fatal(err)
	}
	const want = `--log-level: "db": no such component: want one of feed, hub`
	if _, err := parser.Parse([]string{"show", "--log-level", "db=debug"}); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestProgram_HelpHasExamples(t *testing.T) {
	var out bytes.Buffer
	parser, err := program.Parser(new(testCommands), kong.Writers(&out, &out), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string][]string{
		"show":   {"The Redis that snapshots go to: redis://", "as in info,hub=debug", "($SIGHTGLASS_PRICE_HINT)"},
		"health": {"http://127.0.0.1:1/readyz"},
	} {
		out.Reset()
		parser.Parse([]string{command, "--help"}) //nolint:errcheck // only the help is tested
		text := strings.Join(strings.Fields(out.String()), " ")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s --help: got %q, want it to contain %q", command, text, w)
			}
		}
	}
}

func TestProgram_OldVariables(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		hint int
		want []string // prefix of each warning
	}{
		"none":                     {},
		"renamed":                  {map[string]string{"SIGHTGLASS_OLD": "7"}, nil, 7, []string{"SIGHTGLASS_OLD was renamed to SIGHTGLASS_PRICE_HINT"}},
		"renamed, and the new one": {map[string]string{"SIGHTGLASS_OLD": "7", "SIGHTGLASS_PRICE_HINT": "8"}, nil, 8, []string{"SIGHTGLASS_OLD has no effect, because its new name, SIGHTGLASS_PRICE_HINT"}},
		"renamed, and a flag":      {map[string]string{"SIGHTGLASS_OLD": "7"}, []string{"--price-hint", "9"}, 9, []string{"SIGHTGLASS_OLD was renamed to SIGHTGLASS_PRICE_HINT"}},
		"gone":                     {map[string]string{"SIGHTGLASS_GONE": "5s"}, nil, 0, []string{"SIGHTGLASS_GONE=5s has no effect, because the setting was removed: nothing is better; unset the variable"}},
		"both":                     {map[string]string{"SIGHTGLASS_GONE": "", "SIGHTGLASS_OLD": "7"}, nil, 7, []string{"SIGHTGLASS_OLD was renamed", "SIGHTGLASS_GONE= has no effect"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SIGHTGLASS_PRICE_HINT", "") // so that the variable that run sets is restored
			if err := os.Unsetenv("SIGHTGLASS_PRICE_HINT"); err != nil {
				t.Fatal(err)
			}
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			got := show(t, c.args...)
			if got.PriceHint != c.hint {
				t.Errorf("got %d, want %d", got.PriceHint, c.hint)
			}
			if len(got.warnings) != len(c.want) {
				t.Fatalf("got the warnings %q, want %q", got.warnings, c.want)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got.warnings[i], want) {
					t.Errorf("got the warning %q, want %q", got.warnings[i], want)
				}
			}
		})
	}
}
