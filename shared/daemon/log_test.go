package daemon

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
)

var components = []string{"feed", "hub"}

func TestLogLevels_OfComponents(t *testing.T) {
	for name, c := range map[string]struct{ levels, want string }{
		"all":             {"info", "main info, main error, feed info, feed error, hub info, hub error"},
		"upper case":      {"ERROR", "main error, feed error, hub error"},
		"one more":        {"error,feed=debug", "main error, feed debug, feed info, feed error, hub error"},
		"one less":        {"info,feed=error", "main info, main error, feed error, hub info, hub error"},
		"each":            {" error , feed=info,hub=debug", "main error, feed info, feed error, hub debug, hub info, hub error"},
		"info by default": {"feed=error", "main info, main error, feed error, hub info, hub error"},
	} {
		t.Run(name, func(t *testing.T) {
			levels, err := ParseLogLevels(c.levels, components)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			log := NewLogger(&out, JSON, levels)
			for _, one := range []struct {
				name string
				*slog.Logger
			}{{"main", log}, {"feed", log.With(Component, "feed")}, {"hub", log.With("n", 1).With(Component, "hub").With("m", 2)}} {
				one.Debug(one.name + " debug")
				one.Info(one.name + " info")
				one.Error(one.name + " error")
			}
			var got []string
			for dec := json.NewDecoder(&out); dec.More(); {
				var line struct{ Msg string }
				if err := dec.Decode(&line); err != nil {
					t.Fatal(err)
				}
				got = append(got, line.Msg)
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

func TestParseLogLevels_RejectsInvalid(t *testing.T) {
	for levels, want := range map[string]string{
		"":                     `want debug, info, warn or error`,
		"loud":                 `"loud": want debug, info, warn or error, or COMPONENT=LEVEL with one of feed, hub`,
		"info,":                `want debug, info, warn or error`,
		"feed=":                `"feed=": want debug`,
		"info,fed=debug":       `"fed": no such component: want one of feed, hub`,
		"=debug":               `"": no such component`,
		"info,debug":           "two levels for all",
		"feed=debug,feed=info": `"feed" has two levels`,
	} {
		t.Run(levels, func(t *testing.T) {
			if _, err := ParseLogLevels(levels, components); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func TestNewLogger_WritesReadableDurations(t *testing.T) {
	for _, format := range []string{"text", JSON} {
		var out bytes.Buffer
		NewLogger(&out, format, LogLevels{}).Info("a", "took", 1500*time.Millisecond)
		if !strings.Contains(out.String(), "1.5s") {
			t.Errorf("%s: got %s, want a readable duration", format, &out)
		}
	}
}

func TestNewLogger_ComponentInGroupHasDefaultLevel(t *testing.T) {
	levels, err := ParseLogLevels("info,feed=debug", components)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	NewLogger(&out, "text", levels).WithGroup("g").With(Component, "feed").Debug("a")
	if out.Len() > 0 {
		t.Errorf("got %s, want no line", &out)
	}
}
