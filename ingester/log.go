package ingester

import (
	"log/slog"

	"sightglass/shared/logs"
)

// The components: which part of a program a line of the log is from.
const (
	logIngester = "ingester"
	logNode     = "node"
	logPublish  = "publish"

	// LogRecord and LogReplay are for the commands of these names, LogGoRedis for what the library says of its connections.
	LogRecord  = "record"
	LogReplay  = "replay"
	LogGoRedis = "go-redis"
	// LogSupervisor is for what systemd is told.
	LogSupervisor = "supervisor"
)

// LogComponents are all components that log.
func LogComponents() []string {
	return []string{logIngester, logNode, logPublish, LogRecord, LogReplay, LogGoRedis, LogSupervisor}
}

func (o Options) logger(component string) *slog.Logger { return o.Log.With(logs.Component, component) }
