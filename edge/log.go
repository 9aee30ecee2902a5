package edge

import (
	"log/slog"

	"sightglass/shared/daemon"
)

// The components of an edge, as named in its log.
const (
	logEdge  = "edge"
	logFeed  = "feed"
	logHub   = "hub"
	logWS    = "ws"
	logLimit = "limit"
	logAPI   = "api"
)

// LogComponents are all components that log.
func LogComponents() []string {
	return []string{logEdge, logFeed, logHub, logWS, logLimit, logAPI, daemon.LogGoRedis, daemon.LogSupervisor}
}

// summary returns the attributes of the log's summary: what clients did between two readings. It returns nil for nothing.
func summary(before, now daemon.Reading) []any {
	connected := now.Growth(before, "sightglass_clients_accepted_total")
	closed := now.GrowthByLabel(before, "sightglass_client_closed_total")
	rejected := now.GrowthByLabel(before, "sightglass_edge_rejected_total")
	if connected == 0 && closed == nil && rejected == nil {
		return nil
	}
	return []any{
		"connected", connected, slog.Group("closed", closed...), slog.Group("rejected", rejected...),
		"now", int64(now.Sum("sightglass_clients")),
	}
}
