package feed

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// timeout bounds each step towards Redis: dialling, writing, reading an answer.
const timeout = 2 * time.Second

// ParseURL reads a Redis URL (redis://, rediss://, unix://) into the options of our client.
func ParseURL(url string) (*redis.Options, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("redis URL: %w (want redis://, rediss:// or unix://)", err)
	}
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout = timeout, timeout, timeout
	opts.ContextTimeoutEnabled = true
	opts.MaxRetries, opts.DialerRetries = -1, 1 // Feed.Run tries again
	opts.ClientName = "sightglass-edge"
	opts.DisableIdentity = true // CLIENT SETINFO is unknown before Redis 7.2 and would need a right of its own
	return opts, nil
}
