package contract

// What Sightglass keeps in Redis. The ingester writes these keys; edges and anyone with redis-cli read them.
const (
	// Channel carries every snapshot, the whole JSON, as it is computed: `redis-cli SUBSCRIBE sightglass:snapshot` is a
	// monitor. Pub/sub keeps nothing: a client that was not subscribed reads KeyLatest.
	Channel = "sightglass:snapshot"

	// KeyLatest holds the newest snapshot, the same JSON, written in one step with the PUBLISH on Channel.
	KeyLatest = "sightglass:latest"

	// KeyHistory holds the price's history: a sorted set of HistoryEntry, scored by their times.
	// `redis-cli ZRANGE sightglass:history -6 -1` shows the last minute.
	KeyHistory = "sightglass:history"

	// KeyPoints holds the newest snapshot's points, at most a second old, each with its round amount (AppendPointAmounts).
	// Snapshots do not have the amounts, because few clients ask for them.
	KeyPoints = "sightglass:points"

	// KeyEngine holds the engine's state, binary, from which a restarted ingester resumes.
	KeyEngine = "sightglass:engine"

	// KeyLeader holds the epoch of the leader, and expires if the lease is not renewed with a snapshot. The braces put it
	// on the same node of a Redis Cluster as KeyLatest, so that one script can use both.
	KeyLeader = "sightglass:leader:{" + KeyLatest + "}"

	// KeyEpoch holds the epoch of the latest election. Snapshots of an earlier epoch are rejected.
	KeyEpoch = "sightglass:epoch:{" + KeyLatest + "}"

	// KeyLimitPrefix and a client's address (192.0.2.1, or 2001:db8:: for its /64) name a sorted set of the connections
	// that the address holds on all edges, each under a lease: its score is the lease's end, in unix milliseconds by
	// Redis's clock. Only edges with --limit-scope cluster write it.
	KeyLimitPrefix = "sightglass:limit:"
)
