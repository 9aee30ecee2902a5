// Package publish puts snapshots on Redis: the newest always, an older one never after a newer one.
package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/keys"
	"sightglass/shared/snapshot"
)

// keep is how long a dead ingester's last snapshot and state stay readable. After the window (3 h) nothing in them
// holds; until then an edge that starts has something to show, stale by its timestamp, and an ingester that starts
// resumes.
const keep = 3 * time.Hour

// write stores and announces a snapshot in one transaction: whoever hears of it and reads the key finds it there. The
// engine's state goes along when there is one.
func write(ctx context.Context, client redis.UniversalClient, encoded, state []byte) error {
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, keys.Latest, encoded, keep)
		p.Publish(ctx, keys.Channel, encoded)
		if len(state) > 0 {
			p.Set(ctx, keys.Engine, state, keep)
		}
		return nil
	})
	return err
}

// LoadEpoch reads the epoch of the newest snapshot in Redis; empty if there is none.
func LoadEpoch(ctx context.Context, client redis.UniversalClient) (snapshot.Epoch, error) {
	data, err := client.Get(ctx, keys.Latest).Bytes()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	latest, err := snapshot.Decode(data)
	if err != nil {
		return "", err
	}
	return latest.Epoch, nil
}

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

// Try reports whether Redis takes what an ingester writes. It writes a key that nobody reads and that ends in a second.
func Try(ctx context.Context, client redis.UniversalClient) error {
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, probeKey, "", time.Second)
		p.Publish(ctx, probeKey, "")
		return nil
	})
	switch {
	case err == nil:
		return nil
	case redis.IsAuthError(err), redis.IsPermissionError(err):
		return fmt.Errorf("redis refuses this user: %w (SET and PUBLISH on sightglass:* are needed; user and password are in the URL of --redis)", err)
	default:
		return fmt.Errorf("redis gives no answer: %w (is it running, and is --redis right?)", err)
	}
}
