package redisurl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/redis/go-redis/v9"
)

// advice is what to do about an answer of Redis that is an error, by how it begins; without ERR. What Redis says of an
// error within a script begins in the same way.
var advice = []struct{ prefix, do string }{
	{"NOAUTH", "it wants a password: --redis-password-file and a user in the URL of --redis"},
	{"WRONGPASS", "the user in the URL of --redis or the password is wrong"},
	{"Client sent AUTH", "it has no password and --redis gives one: leave it out, or set users up as docs/redis.md says"},
	{"AUTH <password> called without any password configured", "it has no password and --redis gives one: leave it out, or set users up as docs/redis.md says"},
	{"NOPERM", userLacksRights},
	{"The user executing the script can't", userLacksRights},
	{"DENIED", "it is in protected mode: it has no users and lets in its own machine only; set users up as docs/redis.md says"},
	{"READONLY", "this server is a replica: --redis must name the master, or the Sentinels with redis+sentinel://"},
	{"MISCONF", "it cannot save its data and takes no writes until it can: free or mend its disk (its log says what failed), or CONFIG SET stop-writes-on-bgsave-error no"},
	{"OOM", "its memory is full: raise maxmemory, or remove what is not Sightglass's"},
	{"command not allowed when used memory", "its memory is full: raise maxmemory, or remove what is not Sightglass's"},
	{"EXECABORT", "it refused one of several commands, and does not say why: its memory is full (maxmemory), or the user lacks a right of infra/redis/users.acl"},
	{"max number of clients", "raise its maxclients, or find out with CLIENT LIST who holds the connections"},
	{"LOADING", "it is reading its data from disk; nothing is to be done but wait"},
	{"BUSY", "somebody's script keeps it from answering: SCRIPT KILL ends that"},
	{"CLUSTERDOWN", "nodes of the Cluster are away: redis-cli --cluster check says which"},
	{"MOVED", "it is a node of a Cluster: redis+cluster://"},
	{"CROSSSLOT", "it is a node of a Cluster: redis+cluster://"},
	{"SELECT is not allowed in cluster mode", "a Cluster has no databases but 0: leave out what follows the port in --redis"},
	{"This instance has cluster support disabled", "it is no node of a Cluster: redis://"},
	{"MASTERDOWN", "the replica has lost its master: wait for the failover, or mend the master"},
	{"NOREPLICAS", "it takes no writes without replicas (min-replicas-to-write), and they are away"},
	{"unknown command", "it does not know this command: Redis 7.0 or newer, or Valkey, with no command renamed"},
	{"unknown subcommand", "it does not know this command: Redis 7.0 or newer, or Valkey, with no command renamed"},
	{"DB index is out of range", "it has no such database: leave out what follows the port in --redis"},
}

const userLacksRights = "the rights that each daemon needs are in infra/redis/users.acl"

// Explain says of an error of a client of Open whether Redis has given an answer or none, and what to do. It wraps err,
// which is not nil.
func Explain(err error) error {
	if _, ok := errors.AsType[redis.Error](err); ok {
		for _, a := range advice {
			if redis.HasErrorPrefix(err, a.prefix) {
				return fmt.Errorf("redis answers: %w (%s)", err, a.do)
			}
		}
		return fmt.Errorf("redis answers: %w", err)
	}
	_, network := errors.AsType[net.Error](err) // refused, unreachable, no such host, timed out
	if network || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, redis.ErrPoolTimeout) {
		return fmt.Errorf("redis gives no answer: %w (is it running, and is --redis right?)", err)
	}
	return err // it says what to do, as those of TLS and of Sentinel, or is about what Redis holds
}
