package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// logOptions are the flags about logging.
type logOptions struct {
	LogLevel  slog.Level `default:"info" help:"What is logged: debug, info, warn, error."`
	LogFormat string     `default:"text" enum:"text,json" help:"How it is logged: text, json."`
}

// logger also takes in what go-redis says, which has no level of its own and repeats what we say in better words.
func (o logOptions) logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: o.LogLevel}
	var handler slog.Handler = slog.NewTextHandler(w, opts)
	if o.LogFormat == "json" {
		handler = slog.NewJSONHandler(w, opts)
	}
	log := slog.New(handler)
	redis.SetLogger(redisLog{log})
	return log
}

type redisLog struct{ *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.DebugContext(ctx, fmt.Sprintf(format, v...), "component", "go-redis")
}
