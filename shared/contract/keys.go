package contract

// The keys and the channel in Redis. Ingesters write them, except KeyLimitPrefix; edges and operators with redis-cli
// read them. Package history has those of the history.
const (
	// Channel carries every snapshot as whole JSON when it is published; `redis-cli SUBSCRIBE sightglass:snapshot` shows
	// them. Pub/sub stores nothing: a client that was not subscribed reads KeyLatest.
	Channel = "sightglass:snapshot"

	// KeyLatest holds the newest snapshot, the same JSON, written atomically with the PUBLISH on Channel.
	KeyLatest = "sightglass:latest"

	// KeyPoints holds the newest snapshot's points, at most a second old, each with its point amount (AppendPointAmounts).
	// Snapshots omit the amounts, because few clients need them.
	KeyPoints = "sightglass:points"

	// KeyEvidence holds what the price was read from, at most a minute old (Evidence.AppendJSON).
	KeyEvidence = "sightglass:evidence"

	// KeyEngine holds the engine's state, in binary. A restarted ingester resumes from it.
	KeyEngine = "sightglass:engine"

	// KeyLeader holds the epoch of the leader, and expires unless a snapshot renews the lease. The braces put it in the
	// same slot of a Redis Cluster as KeyLatest, so that one script can use both.
	KeyLeader = "sightglass:leader:{" + KeyLatest + "}"

	// KeyEpoch holds the epoch of the latest election. Snapshots of an earlier epoch are rejected.
	KeyEpoch = "sightglass:epoch:{" + KeyLatest + "}"

	// KeyLimitPrefix plus a client's address (192.0.2.1, or 2001:db8:: for its /64) is a sorted set of the connections
	// that the address holds on all edges. Each is a lease; its score is the lease's end, in unix milliseconds by Redis's
	// clock. Only edges with --limit-scope cluster write it.
	KeyLimitPrefix = "sightglass:limit:"
)
