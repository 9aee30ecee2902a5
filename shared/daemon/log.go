package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"
)

// Component is the attribute that names the part of a program that logs a line.
const Component = "component"

// The components that both daemons have.
const (
	LogGoRedis    = "go-redis"   // what the library reports about its connections
	LogSupervisor = "supervisor" // notifications to systemd
)

// JSON is the log format with one object per line; any other value means text.
const JSON = "json"

// LogOptions are the settings of a program's log.
type LogOptions struct {
	LogLevel  LogLevels `default:"info" placeholder:"LEVEL" help:"Lowest level that is logged: debug, info, warn or error; for single components, as in info,${log_example}=debug."`
	LogFormat string    `default:"text" enum:"text,json" help:"Format of the log: text or json."`
}

// Logger returns the program's logger, which writes to w. It also receives the messages of go-redis, which have no
// level and repeat what the program logs itself: they are logged at debug.
func (o LogOptions) Logger(w io.Writer) *slog.Logger {
	log := NewLogger(w, o.LogFormat, o.LogLevel)
	redis.SetLogger(redisLog{log.With(Component, LogGoRedis)})
	return log
}

type redisLog struct{ *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.DebugContext(ctx, fmt.Sprintf(format, v...))
}

// logLevels lets kong parse LogLevels. It rejects unknown components.
func logLevels(components []string) kong.Option {
	return kong.TypeMapper(reflect.TypeFor[LogLevels](), kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("level", &text); err != nil {
			return err
		}
		levels, err := ParseLogLevels(text, components)
		if err == nil {
			target.Set(reflect.ValueOf(levels))
		}
		return err
	}))
}

// LogLevels are the lowest levels that are logged. The zero value is info for all components.
type LogLevels struct {
	all slog.Level
	of  map[string]slog.Level // components with a level of their own
}

// ParseLogLevels parses a list such as "info", "feed=debug" or "warn,feed=debug,hub=info". A level alone applies to all
// components that are not named; the default is info. The error names the invalid item and the known components.
func ParseLogLevels(text string, components []string) (LogLevels, error) {
	l, others := LogLevels{of: make(map[string]slog.Level)}, false
	for item := range strings.SplitSeq(text, ",") {
		component, name, isOne := strings.Cut(strings.TrimSpace(item), "=")
		if !isOne {
			component, name = "", component
		}
		var level slog.Level
		if level.UnmarshalText([]byte(name)) != nil {
			return LogLevels{}, fmt.Errorf("%q: want debug, info, warn or error, or COMPONENT=LEVEL with one of %s", item, strings.Join(components, ", "))
		}
		_, twice := l.of[component]
		switch {
		case isOne && !slices.Contains(components, component):
			return LogLevels{}, fmt.Errorf("%q: no such component: want one of %s", component, strings.Join(components, ", "))
		case twice:
			return LogLevels{}, fmt.Errorf("%q has two levels", component)
		case isOne:
			l.of[component] = level
		case others:
			return LogLevels{}, errors.New("two levels for all: want one, and the others as COMPONENT=LEVEL")
		default:
			l.all, others = level, true
		}
	}
	return l, nil
}

func (l LogLevels) level(component string) slog.Level {
	if level, ok := l.of[component]; ok {
		return level
	}
	return l.all
}

// NewLogger returns a logger that writes to w in a format, JSON or text. Its With(Component, name) returns the logger
// of a component.
func NewLogger(w io.Writer, format string, levels LogLevels) *slog.Logger {
	everything := &slog.HandlerOptions{Level: slog.Level(math.MinInt), ReplaceAttr: readable}
	var inner slog.Handler = slog.NewTextHandler(w, everything)
	if format == JSON {
		inner = slog.NewJSONHandler(w, everything)
	}
	return slog.New(handler{inner, levels, levels.all, false})
}

// readable writes durations in JSON as in text, such as 1.5s, instead of nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// A handler passes on the records that the level of its component allows.
type handler struct {
	slog.Handler
	levels  LogLevels
	level   slog.Level
	grouped bool // inside a group, an attribute named component is not the component
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
