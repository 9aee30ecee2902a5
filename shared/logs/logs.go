// Package logs makes both daemons' loggers: text or JSON, with a level for each component, which is what the attribute
// component names.
package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
)

// Component is the attribute that says which part of a program a line is from.
const Component = "component"

// JSON is the format of one object a line; every other is text.
const JSON = "json"

// Levels say from which level on is logged. The zero value is info for all.
type Levels struct {
	all slog.Level
	of  map[string]slog.Level // components that have one of their own
}

// Parse reads a list such as "info", "feed=debug" or "warn,feed=debug,hub=info". A level alone is for the components
// that are not named; without one it is info. The error names what is wrong, and the components that there are.
func Parse(text string, components []string) (Levels, error) {
	l, others := Levels{of: make(map[string]slog.Level)}, false
	for item := range strings.SplitSeq(text, ",") {
		component, name, isOne := strings.Cut(strings.TrimSpace(item), "=")
		if !isOne {
			component, name = "", component
		}
		var level slog.Level
		if level.UnmarshalText([]byte(name)) != nil {
			return Levels{}, fmt.Errorf("%q: want debug, info, warn or error, or COMPONENT=LEVEL with one of %s", item, strings.Join(components, ", "))
		}
		_, twice := l.of[component]
		switch {
		case isOne && !slices.Contains(components, component):
			return Levels{}, fmt.Errorf("%q: no such component: want one of %s", component, strings.Join(components, ", "))
		case twice:
			return Levels{}, fmt.Errorf("%q has two levels", component)
		case isOne:
			l.of[component] = level
		case others:
			return Levels{}, errors.New("two levels for all: want one, and the others as COMPONENT=LEVEL")
		default:
			l.all, others = level, true
		}
	}
	return l, nil
}

func (l Levels) level(component string) slog.Level {
	if level, ok := l.of[component]; ok {
		return level
	}
	return l.all
}

// New makes a logger that writes to w in a format, JSON or text. Lines of a component come from what With(Component,
// name) gives.
func New(w io.Writer, format string, levels Levels) *slog.Logger {
	everything := &slog.HandlerOptions{Level: slog.Level(math.MinInt), ReplaceAttr: readable}
	var inner slog.Handler = slog.NewTextHandler(w, everything)
	if format == JSON {
		inner = slog.NewJSONHandler(w, everything)
	}
	return slog.New(handler{inner, levels, levels.all, false})
}

// readable writes durations in JSON as in text, 1.5s, and not as a number of nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// A handler passes on what its component's level lets through.
type handler struct {
	slog.Handler
	levels  Levels
	level   slog.Level
	grouped bool // what is called component in a group is something else
}

func (h handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == Component && !h.grouped {
			h.level = h.levels.level(a.Value.String())
		}
	}
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

func (h handler) WithGroup(name string) slog.Handler {
	h.Handler, h.grouped = h.Handler.WithGroup(name), h.grouped || name != ""
	return h
}
