package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightglass/shared/contract"
)

// TestDocs_TimesMatchContract: documents and scripts name the times of package contract.
func TestDocs_TimesMatchContract(t *testing.T) {
	in := func(d time.Duration, unit time.Duration, name string) string {
		return fmt.Sprintf("%g %s", float64(d)/float64(unit), name)
	}
	interval := in(contract.Interval, time.Millisecond, "ms")
	stale, ready, lease := in(contract.StaleAfter, time.Second, "s"), in(contract.ReadyWithin, time.Second, "s"), in(contract.Lease, time.Second, "s")
	window := in(contract.Window, time.Hour, "h")
	back := in(contract.StepBackAfter, time.Second, "s")
	for file, texts := range map[string][]string{
		"README.md":         {"Every " + interval, "last " + window},
		"docs/clients.md":   {"every " + interval, "nothing new for " + stale, "received for " + back, "younger than " + ready},
		"docs/operating.md": {"without a snapshot for " + lease, "received for " + back, window + " after the last"},
		"docs/metrics.md":   {"no newer snapshot was received for " + stale},
		"docs/alerts.md":    {"snapshot for over " + ready},
		"infra/systemd/sightglass-.service.d/hardening.conf": {"every " + stale},
		"edge/web/static/state.js": {
			fmt.Sprintf("SILENT_AFTER = %d", contract.StaleAfter.Milliseconds()), "every " + interval,
		},
	} {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range texts {
			if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), want) {
				t.Errorf("%s: got no %q", file, want)
			}
		}
	}
}
