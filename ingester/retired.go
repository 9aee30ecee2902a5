package ingester

import (
	"fmt"

	"sightglass/shared/snapshot"
)

// RetiredSettings gives a sentence for each environment variable of a setting that no longer exists: the command line
// refuses such a flag, but nothing else would say that a variable has no effect. lookup is os.LookupEnv.
func RetiredSettings(lookup func(name string) (value string, ok bool)) (sentences []string) {
	for _, setting := range []struct{ name, instead string }{
		{"SIGHTGLASS_INTERVAL", fmt.Sprintf("a snapshot comes every %v", snapshot.Interval)},
		{"SIGHTGLASS_WINDOW", fmt.Sprintf("a transaction counts for %v", snapshot.Window)},
	} {
		if value, ok := lookup(setting.name); ok {
			sentences = append(sentences, fmt.Sprintf("%s=%s has no effect, as it is no setting any more: %s; remove it",
				setting.name, value, setting.instead))
		}
	}
	return sentences
}
