package ingester

import (
	"sightglass/shared/contract"
	"sightglass/shared/daemon"
)

// The components of the program, as named in its log.
const (
	logIngester = "ingester"
	logNode     = "node"
	logPeers    = "peers"
	logPublish  = "publish"

	// LogBackfill, LogRecord and LogReplay are the components of the commands with these names.
	LogBackfill = "backfill"
	LogRecord   = "record"
	LogReplay   = "replay"
)

// LogComponents are all components that log.
func LogComponents() []string {
	return []string{logIngester, logNode, logPeers, logPublish, LogBackfill, LogRecord, LogReplay, daemon.LogGoRedis, daemon.LogSupervisor}
}

// summary returns the attributes of the log's summary: the current price, and what was received and lost between two
// readings.
func summary(before, now daemon.Reading) []any {
	grown := func(name string) int64 { return now.Growth(before, name) }
	status := contract.Warming
	for _, s := range statuses {
		if now["sightglass_status"][string(s)] == 1 {
			status = s
		}
	}
	return []any{
		"price", now.Sum("sightglass_price_usd"), "low", now.Sum("sightglass_price_low_usd"), "high", now.Sum("sightglass_price_high_usd"),
		"confidence", now.Sum("sightglass_confidence_ratio"), "status", status,
		"leader", int64(now.Sum("sightglass_leader")),
		"outputs", int64(now.Sum("sightglass_evidence_outputs")),
		"received", grown("sightglass_transactions_received_total"), "filtered", grown("sightglass_transactions_filtered_total"),
		"published", grown("sightglass_publish_snapshots_total"), "failed", grown("sightglass_publish_failures_total"),
		"missed", grown("sightglass_node_missed_messages_total"), "resyncs", grown("sightglass_node_resyncs_total"),
	}
}
