package edge

import (
	"log/slog"

	"sightglass/shared/logs"
)

// The components of an edge: which part of it a line of the log is from.
const (
	logEdge  = "edge"
	logFeed  = "feed"
	logHub   = "hub"
	logWS    = "ws"
	logLimit = "limit"
	logAPI   = "api"

	// LogGoRedis is for what the library says of its connections.
	LogGoRedis = "go-redis"
	// LogSupervisor is for what systemd is told.
	LogSupervisor = "supervisor"
)

// LogComponents are all components that log.
func LogComponents() []string {
	return []string{logEdge, logFeed, logHub, logWS, logLimit, logAPI, LogGoRedis, LogSupervisor}
}

func (o Options) logger(component string) *slog.Logger { return o.Log.With(logs.Component, component) }
