package daemon

import (
	"fmt"
	"log/slog"
	"os"
)

// An OldVariable is an environment variable that was the name of a setting. kong rejects unknown flags; nothing rejects
// an unknown variable, so the program warns about those that operators may still have set.
type OldVariable struct {
	Name    string
	New     string // the variable's name now, for a setting that was renamed; the old one works for one release
	Instead string // what holds instead, for a setting that is gone; without New
}

// Warnings are sentences about the environment, for the operator.
type Warnings []string

// Log logs each warning.
func (w Warnings) Log(log *slog.Logger) {
	for _, warning := range w {
		log.Warn(warning)
	}
}

// Print prints each warning on standard output.
func (w Warnings) Print() {
	for _, warning := range w {
		fmt.Println(warning)
	}
}

// applyOld sets renamed settings from their old variables, in the environment of this process, and returns a warning
// for each old variable that is set. The new variable wins if both are set.
func applyOld(variables []OldVariable) (warnings Warnings) {
	for _, v := range variables {
		value, ok := os.LookupEnv(v.Name)
		if !ok {
			continue
		}
		_, both := os.LookupEnv(v.New)
		switch {
		case v.New == "":
			warnings = append(warnings, fmt.Sprintf("%s=%s has no effect, as it is no setting any more: %s; remove it", v.Name, value, v.Instead))
		case both:
			warnings = append(warnings, fmt.Sprintf("%s has no effect, as %s, its new name, is set too; remove it", v.Name, v.New))
		default:
			os.Setenv(v.New, value) //nolint:errcheck // fails on a name or value that cannot have come from an environment
			warnings = append(warnings, fmt.Sprintf("%s is now called %s; the old name works in this release only: rename it", v.Name, v.New))
		}
	}
	return warnings
}
