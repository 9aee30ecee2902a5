// Package daemon holds what both daemons share for operators: settings from flags and the environment, logs, metrics of
// the build, the listener for operators, health, notifications to systemd, summaries and outages in the log.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
)

// A Program describes a daemon's program. The Run methods of commands may have it, the context that a signal cancels,
// and Warnings as parameters.
type Program struct {
	Name          string // as in `edge: error`
	Description   string // of --help
	Version       string // set by the linker
	HealthURL     string // the default of `health --url`
	LogComponents []string
	LogExample    string        // the component in the help of --log-level
	OldVariables  []OldVariable // of the environment

	Defaults map[string]string // of flags of run, checkconfig and export, by name, where they differ from those in the tags
}

// Main runs the command named on the command line, a field of the struct that commands points to. If the command fails,
// the process exits with a status other than 0.
func Main(p Program, commands any) {
	if err := p.run(os.Args[1:], commands); err != nil {
		fmt.Fprintln(os.Stderr, p.Name+":", err)
		os.Exit(1)
	}
}

func (p Program) run(args []string, commands any) error {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as with nohup
		signals = append(signals, syscall.SIGHUP) // the terminal was closed
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	old := applyOld(p.OldVariables)
	parser, err := p.Parser(commands, kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(p, old))
	if err != nil {
		return err // a tag is malformed
	}
	command, err := parser.Parse(args)
	if err != nil {
		for _, warning := range old { // the error names the new variable
			fmt.Fprintln(os.Stderr, p.Name+":", warning)
		}
		parser.FatalIfErrorf(err)
	}
	if err := command.Run(); !errors.Is(err, context.Canceled) || ctx.Err() == nil {
		return err
	}
	return nil // a signal has ended it before it was ready
}

// Parser returns the parser of the command line and the environment for commands, a pointer to a struct.
func (p Program) Parser(commands any, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(commands, append(options,
		kong.Name(p.Name), kong.Description(p.Description),
		kong.DefaultEnvars("SIGHTGLASS"), kong.ShortUsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"health_url": p.HealthURL, "log_example": p.LogExample}, logLevels(p.LogComponents), kong.PostBuild(p.setDefaults),
	)...)
}

// setDefaults applies Defaults.
func (p Program) setDefaults(k *kong.Kong) error {
	for _, command := range k.Model.Children {
		if !slices.Contains([]string{"run", "checkconfig", "export", "backfill"}, command.Name) {
			continue
		}
		for _, flag := range command.Flags {
			if value, ok := p.Defaults[flag.Name]; ok {
				flag.Default, flag.HasDefault = value, true
			}
		}
	}
	return nil
}

// VersionCommand prints the program's build.
type VersionCommand struct{}

// Run prints one line.
func (VersionCommand) Run(p Program) error {
	_, err := fmt.Println(p.Name, BuildOf(p.Version))
	return err
}
