package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"sightglass/ingester"
	"sightglass/shared/logs"
)

// logOptions are the flags about logging.
type logOptions struct {
	LogLevel  levels `default:"info" placeholder:"LEVEL" help:"What is logged: debug, info, warn, error; also of single components, as in info,node=debug."`
	LogFormat string `default:"text" enum:"text,json" help:"How it is logged: text, json."`
}

// levels is --log-level.
type levels struct{ logs.Levels }

// UnmarshalText refuses levels and components that there are not.
func (l *levels) UnmarshalText(text []byte) (err error) {
	l.Levels, err = logs.Parse(string(text), ingester.LogComponents())
	return err
}

// logger also takes in what go-redis says, which has no level of its own and repeats what we say in better words.
func (o logOptions) logger(w io.Writer) *slog.Logger {
	log := logs.New(w, o.LogFormat, o.LogLevel.Levels)
	redis.SetLogger(redisLog{log.With(logs.Component, ingester.LogGoRedis)})
	return log
}

type redisLog struct{ *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.DebugContext(ctx, fmt.Sprintf(format, v...))
}
