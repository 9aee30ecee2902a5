// Package keys names what Sightglass keeps in Redis. The ingester writes these, the edges and anyone with redis-cli
// read them, so the names are part of the contract and live where both daemons see them.
package keys

const (
	// Channel carries every snapshot, the whole JSON, as it is computed: `redis-cli SUBSCRIBE sightglass:snapshot`
	// is a monitor. Pub/sub keeps nothing: who was not subscribed reads Latest.
	Channel = "sightglass:snapshot"

	// Latest holds the newest snapshot, the same JSON, written in the same MULTI as the PUBLISH on Channel.
	Latest = "sightglass:latest"

	// History holds the price's course: a sorted set, its members entries of package history, its scores their times.
	// `redis-cli ZRANGE sightglass:history -6 -1` shows the last minute.
	History = "sightglass:history"

	// Engine holds what a restarted ingester resumes from: the engine's state, binary, for the ingester alone.
	Engine = "sightglass:engine"
)
