package redisurl

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"
)

// unknownMaster is a hook that explains the Sentinels' response for an unknown master, which would otherwise look like
// a missing key. Its value is the master's name.
type unknownMaster string

func (name unknownMaster) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("the Sentinels have no master %q (master_name in --redis; `redis-cli -p 26379 SENTINEL MASTERS` lists them)", string(name))
		}
		return conn, err
	}
}

func (unknownMaster) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (unknownMaster) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
