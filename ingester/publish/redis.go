// Package publish puts snapshots on Redis: the newest always, an older one never after a newer one, and of several
// ingesters those of one at a time.
package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/keys"
)

// keep is how long a dead ingester's last snapshot and state stay readable. After the window (3 h) nothing in them
// holds; until then an edge that starts has something to show, stale by its timestamp, and an ingester that starts
// resumes.
const keep = 3 * time.Hour

// timeout bounds each step of one publish: dialling, writing, reading. A link that is half open is given up after it.
const timeout = 2 * time.Second

// ParseURL reads a Redis URL (redis://, rediss://, unix://) into the options of our client.
func ParseURL(url string) (*redis.Options, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("redis URL: %w (want redis://, rediss:// or unix://)", err)
	}
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout = timeout, timeout, timeout
	opts.ContextTimeoutEnabled = true
	opts.MaxRetries = -1 // the next snapshot is the retry
	opts.DialerRetries = 1
	opts.ClientName = "sightglass-ingester"
	opts.DisableIdentity = true // CLIENT SETINFO is unknown before Redis 7.2 and would need a right of its own
	return opts, nil
}

// Open makes a client for a URL. It does not connect yet.
func Open(url string) (redis.UniversalClient, error) {
	opts, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	return redis.NewClient(opts), nil
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

var trying = redis.NewScript(`
redis.call('SET', KEYS[1], '', 'PX', 1000)
redis.call('PUBLISH', KEYS[1], '')
return 1
`)

// Try reports whether Redis takes what an ingester writes. It writes a key that nobody reads and that ends in a second.
func Try(ctx context.Context, url string) error {
	client, err := Open(url)
	if err != nil {
		return err
	}
	defer client.Close()
	err = trying.Run(ctx, client, []string{probeKey}).Err()
	switch {
	case err == nil:
		return nil
	case redis.IsAuthError(err), redis.IsPermissionError(err):
		return fmt.Errorf("redis refuses this user: %w (SET, PUBLISH and EVAL on sightglass:* are needed; user and password are in the URL of --redis)", err)
	default:
		return fmt.Errorf("redis gives no answer: %w (is it running, and is --redis right?)", err)
	}
}
