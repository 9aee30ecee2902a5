package redisurl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/redis/go-redis/v9"
)

// advice is what to do about an error that Redis returned, by the start of its text without ERR. Errors within scripts
// start in the same way.
var advice = []struct{ prefix, do string }{
	{"NOAUTH", "it requires a password: set --redis-password-file, and a user in the URL of --redis"},
	{"WRONGPASS", "the user in the URL of --redis or the password is wrong"},
	{"Client sent AUTH", "it requires no password and --redis has one: remove it, or set up users as in docs/redis.md"},
	{"AUTH <password> called without any password configured", "it requires no password and --redis has one: remove it, or set up users as in docs/redis.md"},
	{"NOPERM", userLacksRights},
	{"The user executing the script can't", userLacksRights},
	{"DENIED", "it is in protected mode: without users it accepts connections from its own machine only; set up users as in docs/redis.md"},
	{"READONLY", "this server is a replica: --redis must name the master, or the Sentinels with redis+sentinel://"},
	{"MISCONF", "it rejects writes because it cannot save its data: free or repair its disk (see its log), or CONFIG SET stop-writes-on-bgsave-error no"},
	{"OOM", "its memory is full: raise maxmemory, or remove other data"},
	{"command not allowed when used memory", "its memory is full: raise maxmemory, or remove other data"},
	{"EXECABORT", "it rejected one of several commands without a reason: its memory is full (maxmemory), or the user lacks a right in infra/redis/users.acl"},
	{"max number of clients", "raise its maxclients, or find with CLIENT LIST which clients hold the connections"},
	{"LOADING", "it is loading its data from disk: wait"},
	{"BUSY", "a script blocks it: SCRIPT KILL ends the script"},
	{"CLUSTERDOWN", "nodes of the Cluster are down: redis-cli --cluster check names them"},
	{"MOVED", "it is a node of a Cluster: use redis+cluster://"},
	{"CROSSSLOT", "it is a node of a Cluster: use redis+cluster://"},
	{"SELECT is not allowed in cluster mode", "a Cluster has only database 0: remove the database after the port in --redis"},
	{"This instance has cluster support disabled", "it is not a node of a Cluster: use redis://"},
	{"MASTERDOWN", "the replica lost its master: wait for the failover, or repair the master"},
	{"NOREPLICAS", "it rejects writes because replicas are down (min-replicas-to-write)"},
	{"unknown command", "it lacks this command: use Redis 7.0 or newer, or Valkey, and rename no command"},
	{"unknown subcommand", "it lacks this command: use Redis 7.0 or newer, or Valkey, and rename no command"},
	{"DB index is out of range", "it has no such database: remove the database after the port in --redis"},
}

const userLacksRights = "the rights that each daemon needs are in infra/redis/users.acl"

// Explain wraps an error of a client of Open, which must not be nil. The text says whether Redis returned an error or
// did not respond, and what to do.
func Explain(err error) error {
	if _, ok := errors.AsType[redis.Error](err); ok {
		for _, a := range advice {
			if redis.HasErrorPrefix(err, a.prefix) {
				return fmt.Errorf("redis returned an error: %w (%s)", err, a.do)
			}
		}
		return fmt.Errorf("redis returned an error: %w", err)
	}
	_, network := errors.AsType[net.Error](err) // connection refused, unreachable, no such host, timeout
	if network || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, redis.ErrPoolTimeout) {
		return fmt.Errorf("redis does not respond: %w (is it running, and is --redis right?)", err)
	}
	return err // errors of TLS and Sentinel say what to do; others are about the data in Redis
}
