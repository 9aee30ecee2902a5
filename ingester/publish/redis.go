// Package publish puts snapshots on Redis: the newest always, an older one never after a newer one, and of several
// ingesters those of one at a time.
package publish

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/keys"
	"sightglass/shared/redisurl"
	"sightglass/shared/snapshot"
)

// keep is how long a dead ingester's last snapshot and state stay readable. After the window nothing in them
// holds; until then an edge that starts has something to show, stale by its timestamp, and an ingester that starts
// resumes.
const keep = snapshot.Window

// LoadState reads the engine's state that an ingester before this one has stored; nil if there is none.
func LoadState(ctx context.Context, client redis.UniversalClient) ([]byte, error) {
	state, err := client.Get(ctx, keys.Engine).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return state, err
}

// probeKey is under the same prefix as all others, so that the same rule of an ACL is tried.
const probeKey = "sightglass:probe"

// trying does to one key what our scripts do to theirs.
var trying = redis.NewScript(`
redis.call('SET', KEYS[1], '', 'PX', 1000)
redis.call('GET', KEYS[1])
redis.call('PUBLISH', KEYS[1], '')
redis.call('DEL', KEYS[1])
return 1
`)

// tryHistory does to the key what is done to the history, and leaves none.
func tryHistory(ctx context.Context, client redis.UniversalClient) error {
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, probeKey, redis.Z{})
		p.ZRemRangeByScore(ctx, probeKey, "-inf", "+inf")
		p.ZRemRangeByRank(ctx, probeKey, 0, -1)
		return nil
	})
	return err
}

// Try reports whether Redis takes what an ingester writes. It writes a key that nobody reads and that ends in a second.
func Try(ctx context.Context, client redis.UniversalClient) error {
	err := trying.Run(ctx, client, []string{probeKey}).Err()
	if err == nil {
		err = tryHistory(ctx, client)
	}
	if err != nil {
		return redisurl.Explain(err)
	}
	return nil
}
