// Package daemon is what both daemons do alike for operators: settings from flags and the environment, logs, metrics of
// the build, the listener for operators, health, notifications to systemd, summaries and outages in the log.
package daemon

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// A Program describes a daemon's program. Commands get it, the context that a signal ends and Warnings as parameters of
// their Run, if they want them.
type Program struct {
	Name          string // as in `edge: error`
	Description   string // of --help
	Version       string // as the linker has set it
	HealthURL     string // what `health` asks by default
	LogComponents []string
	LogExample    string        // the component in the help of --log-level
	OldVariables  []OldVariable // of the environment
}

// Main runs the command that the command line names, a field of the struct that commands points to. It ends the process
// with a status that is not 0 if the command fails.
func Main(p Program, commands any) {
	if err := p.run(os.Args[1:], commands); err != nil {
		fmt.Fprintln(os.Stderr, p.Name+":", err)
		os.Exit(1)
	}
}

func (p Program) run(args []string, commands any) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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
	return command.Run()
}

// Parser makes the parser of the command line and the environment for commands, a pointer to a struct.
func (p Program) Parser(commands any, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(commands, append(options,
		kong.Name(p.Name), kong.Description(p.Description),
		kong.DefaultEnvars("SIGHTGLASS"), kong.ShortUsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"health_url": p.HealthURL, "log_example": p.LogExample}, logLevels(p.LogComponents),
	)...)
}

// VersionCommand prints which build the program is.
type VersionCommand struct{}

// Run prints one line.
func (VersionCommand) Run(p Program) error {
	_, err := fmt.Println(p.Name, BuildOf(p.Version))
	return err
}
