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
	// retention is the time to live of the last snapshot and the last state. They are of no use when the window has
	// passed. Until then an edge that starts can show a snapshot, stale by its timestamp, and an ingester that starts can
	// resume.
	retention = contract.Window
	// writeTimeout bounds each write beside the snapshots, including all attempts of the client: on a Cluster it may try
	// several nodes several times.
	writeTimeout = 2 * time.Second
)

// LoadState returns the engine's state that an earlier ingester stored; nil if there is none.
func LoadState(ctx context.Context, client redis.UniversalClient) ([]byte, error) {
	state, err := client.Get(ctx, contract.KeyEngine).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return state, err
}

// probeKey has the prefix of all other keys, so that the same ACL rules apply.
const probeKey = "sightglass:probe"

// tryScript uses the commands of package leader's scripts on one key.
var tryScript = redis.NewScript(`
redis.call('SET', KEYS[1], '', 'PX', 1000)
redis.call('GET', KEYS[1])
redis.call('PUBLISH', KEYS[1], '')
redis.call('DEL', KEYS[1])
return 1
`)

// tryHistory uses the commands of the history on the key, and leaves no key.
func tryHistory(ctx context.Context, client redis.UniversalClient) error {
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, probeKey, redis.Z{})
		p.ZRange(ctx, probeKey, 0, -1)
		p.ZRemRangeByScore(ctx, probeKey, "-inf", "+inf")
		p.ZRemRangeByRank(ctx, probeKey, 0, -1)
		return nil
	})
	return err
}

// Try reports whether Redis accepts an ingester's writes. It writes a key that no program reads and that expires after
// a second.
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
