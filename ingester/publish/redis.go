package publish

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
	"sightglass/shared/redisurl"
)

const (
	// retention is how long a dead ingester's last snapshot and state stay readable. After the window nothing in them is
	// of use; until then an edge that starts has something to show, stale by its timestamp, and an ingester that starts
	// resumes.
	retention = contract.Window
	// writeTimeout bounds each write beside the snapshots, with everything that the client tries for it: on a Cluster those
	// are several attempts at several nodes.
	writeTimeout = 2 * time.Second
)

// LoadState reads the engine's state that an earlier ingester has stored; nil if there is none.
func LoadState(ctx context.Context, client redis.UniversalClient) ([]byte, error) {
	state, err := client.Get(ctx, contract.KeyEngine).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return state, err
}

// probeKey has the prefix of all other keys, so that the same ACL rule is tried.
const probeKey = "sightglass:probe"

// tryScript does to one key what the scripts of package leader do to theirs.
var tryScript = redis.NewScript(`
redis.call('SET', KEYS[1], '', 'PX', 1000)
redis.call('GET', KEYS[1])
redis.call('PUBLISH', KEYS[1], '')
redis.call('DEL', KEYS[1])
return 1
`)

// tryHistory does to the key what is done to the history, and leaves no key.
func tryHistory(ctx context.Context, client redis.UniversalClient) error {
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, probeKey, redis.Z{})
		p.ZRemRangeByScore(ctx, probeKey, "-inf", "+inf")
		p.ZRemRangeByRank(ctx, probeKey, 0, -1)
		return nil
	})
	return err
}

// Try reports whether Redis accepts what an ingester writes. It writes a key that nobody reads and that expires in a second.
func Try(ctx context.Context, client redis.UniversalClient) error {
	err := tryScript.Run(ctx, client, []string{probeKey}).Err()
	if err == nil {
		err = tryHistory(ctx, client)
	}
	if err != nil {
		return redisurl.Explain(err)
	}
	return nil
}
