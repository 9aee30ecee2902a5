package daemon

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestOutage_LogsStartTwiceThenOnceAMinute: and the end once. The next outage is logged in the same way.
func TestOutage_LogsStartTwiceThenOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o := Outage{Log: NewLogger(&out, "text", LogLevels{})}
		lines := func(text string) int { return strings.Count(out.String(), text) }
		o.Recovered("up")
		if out.Len() > 0 {
			t.Errorf("recovered without an outage: got %s, want no line", &out)
		}
		for range 2 {
			out.Reset()
			for range 5 {
				o.Failed("down", errors.New("broken link"))
			}
			if n := lines(`level=ERROR msg=down err="broken link"`); n != 2 {
				t.Errorf("at the beginning: got %d lines, want 2: %s", n, &out)
			}
			time.Sleep(time.Minute)
			o.Failed("down", errors.New("broken link"))
			o.Failed("down", errors.New("broken link"))
			if n := lines("msg=down"); n != 3 {
				t.Errorf("a minute later: got %d lines, want 3: %s", n, &out)
			}
			o.Recovered("up")
			o.Recovered("up")
			if n := lines("level=INFO msg=up"); n != 1 {
				t.Errorf("at the end: got %d lines, want 1: %s", n, &out)
			}
		}
		if o.Failed("down", errors.New("broken link")); !o.End() || o.End() {
			t.Error("got another result of End, want true for the outage and then false")
		}
	})
}
