// Package keys names what Sightglass keeps in Redis. The ingester writes these, the edges and anyone with redis-cli
// read them, so the names are part of the contract and live where both daemons see them.
package keys

const (
	// Channel carries every snapshot, the whole JSON, as it is computed: `redis-cli SUBSCRIBE sightglass:snapshot`
	// is a monitor. Pub/sub keeps nothing: who was not subscribed reads Latest.
	Channel = "sightglass:snapshot"

	// Latest holds the newest snapshot, the same JSON, written in one step with the PUBLISH on Channel.
	Latest = "sightglass:latest"

	// History holds the price's course: a sorted set, its members entries of package history, its scores their times.
	// `redis-cli ZRANGE sightglass:history -6 -1` shows the last minute.
	History = "sightglass:history"

	// Points holds the newest snapshot's points, a second old at the most, each with the round amount that it is: package
	// rounds has the encoding. Snapshots do not tell it, as few ask; edges read it when somebody does.
	Points = "sightglass:points"

	// Engine holds what a restarted ingester resumes from: the engine's state, binary, for the ingester alone.
	Engine = "sightglass:engine"

	// Leader holds the epoch of the ingester that may publish, and ends by itself if it is not renewed with a snapshot.
	// The braces put it on the same node of a Redis Cluster as Latest, so that one script can touch both.
	Leader = "sightglass:leader:{" + Latest + "}"

	// Epoch holds the latest epoch that was ever granted: what an ingester of an earlier one writes is refused.
	Epoch = "sightglass:epoch:{" + Latest + "}"

	// LimitPrefix and a client's address (192.0.2.1, or 2001:db8:: for its /64) name a sorted set of the connections that
	// the address has on all edges, each under a lease: its score is when it ends, in unix milliseconds by Redis's clock.
	// Only edges with --limit-scope cluster write it.
	LimitPrefix = "sightglass:limit:"
)
