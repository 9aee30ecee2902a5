// Package publish puts snapshots on Redis: the newest always, an older one never after a newer one.
package publish

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/keys"
)

// latestTTL is how long a dead ingester's last snapshot stays readable. After the window (3 h) nothing in it holds;
// until then an edge that starts has something to show, marked stale by its timestamp.
const latestTTL = 3 * time.Hour

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

// write stores and announces a snapshot in one transaction: whoever hears of it and reads the key finds it there.
func write(ctx context.Context, client redis.UniversalClient, snapshot []byte) error {
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, keys.Latest, snapshot, latestTTL)
		p.Publish(ctx, keys.Channel, snapshot)
		return nil
	})
	return err
}
