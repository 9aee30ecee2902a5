package daemon

import (
	"fmt"
	"log/slog"
	"os"
)

// An OldVariable is an environment variable that a former release used for a setting. kong rejects unknown flags but
// not unknown variables, so the program warns about those that operators may still have set.
type OldVariable struct {
	Name    string
	New     string // the current name, for a renamed setting; the old name works for one release
	Instead string // what applies instead, for a removed setting; New is empty
}

// Warnings are messages about the environment, for the operator.
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

// applyOld sets renamed settings from their old variables, in the environment of this process. It returns a warning for
// each old variable that is set. If both are set, the new variable wins.
func applyOld(variables []OldVariable) (warnings Warnings) {
	for _, v := range variables {
		value, ok := os.LookupEnv(v.Name)
		if !ok {
			continue
		}
		_, both := os.LookupEnv(v.New)
		switch {
		case v.New == "":
			warnings = append(warnings, fmt.Sprintf("%s=%s has no effect, because the setting was removed: %s; unset the variable", v.Name, value, v.Instead))
		case both:
			warnings = append(warnings, fmt.Sprintf("%s has no effect, because its new name, %s, is set too; unset the old one", v.Name, v.New))
		default:
			os.Setenv(v.New, value) //nolint:errcheck // fails only for names and values that no environment can hold
			warnings = append(warnings, fmt.Sprintf("%s was renamed to %s; the old name works in this release only", v.Name, v.New))
		}
	}
	return warnings
}
