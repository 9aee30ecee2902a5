package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sightglass/edge/feed"
	"sightglass/infra/test/internal/daemons"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
	"sightglass/shared/redisurl"
)

// TestRedis_ErrorsAreReportedWithAdvice: the probe and the edge's log quote a real Redis's error and say what to do.
// They do not ask whether Redis is running.
func TestRedis_ErrorsAreReportedWithAdvice(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		setUp func(t *testing.T, client *redis.Client)
		user  string // in the URL
		probe string // the error that the probe quotes
		edge  string // the error that the edge's log quotes; empty: the edge gets no error
		do    string // the advice in both
	}{
		"no password": {
			args:  []string{"--requirepass", "secret"},
			probe: "NOAUTH", edge: "NOAUTH", do: "--redis-password-file",
		},
		"a wrong password": {
			args: []string{"--requirepass", "secret"}, user: "default:wrong@",
			probe: "WRONGPASS", edge: "WRONGPASS", do: "password is wrong",
		},
		"a user without rights": {
			setUp: func(t *testing.T, client *redis.Client) {
				do(t, client, "ACL", "SETUSER", "nobody", "on", ">secret", "-@all", "+hello", "+ping", "+client|setname")
			},
			user: "nobody:secret@", probe: "NOPERM", edge: "NOPERM", do: "infra/redis/users.acl",
		},
		"rights for scripts, not for their commands": {
			setUp: func(t *testing.T, client *redis.Client) {
				do(t, client, "ACL", "SETUSER", "half", "on", ">secret", "~*", "&*", "-@all", "+hello", "+ping", "+client|setname", "+eval", "+evalsha")
			},
			user: "half:secret@", probe: "", do: "infra/redis/users.acl",
		},
		"a replica": {
			setUp: func(t *testing.T, client *redis.Client) { do(t, client, "REPLICAOF", "127.0.0.1", "1") },
			probe: "READONLY", do: "name the master",
		},
		"no memory": {
			setUp: func(t *testing.T, client *redis.Client) { do(t, client, "CONFIG", "SET", "maxmemory", "1") },
			probe: "OOM", do: "maxmemory",
		},
		"an unknown command": {
			args:  []string{"--rename-command", "EVALSHA", "", "--rename-command", "EVAL", "", "--rename-command", "SUBSCRIBE", ""},
			probe: "ERR unknown command", edge: "ERR unknown command", do: "Redis 7.0 or newer",
		},
		"too many clients": {
			args: []string{"--maxclients", "1"}, // the test's own
			setUp: func(t *testing.T, client *redis.Client) {
				conn := client.Conn()
				t.Cleanup(func() { conn.Close() })
				do(t, client, "CONFIG", "SET", "maxclients", "1")
			},
			probe: "ERR max number of clients", edge: "ERR max number of clients", do: "maxclients",
		},
		"a node of a Cluster without the others": {
			args:  []string{"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"},
			probe: "CLUSTERDOWN", do: "redis-cli --cluster check",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.New(t, "", append([]string{"--dir", t.TempDir()}, c.args...)...)
			server.Start()
			if c.setUp != nil {
				c.setUp(t, server.Client())
			}
			url := strings.Replace(server.URL(), "//", "//"+c.user, 1)
			o := ingester.Defaults()
			o.Redis, o.ZMQ = url, nil
			f := ingester.Probe(t.Context(), o)[0]
			if f.Verdict != ingester.Bad || !strings.HasPrefix(f.Text, "redis returned an error: ") || !strings.Contains(f.Text, c.probe) || !strings.Contains(f.Text, c.do) || strings.Contains(f.Text, "is it running") {
				t.Errorf("got %+v, want a bad finding with %q and %q", f, c.probe, c.do)
			}
			if c.edge == "" {
				return
			}
			log, logger := daemons.NewJournal(t)
			client, err := redisurl.Open(url, redisurl.Options{Name: "test"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { client.Close() })
			edge := feed.New(client, logger, prometheus.NewRegistry())
			daemons.Run(t, func(ctx context.Context) error { edge.Run(ctx, func(*feed.Update) {}); return nil })
			programs.Until(t, "the error in the edge's log", func() bool {
				return log.Count("redis returned an error: ") > 0 && log.Count(c.edge) > 0 && log.Count(c.do) > 0
			})
		})
	}
}

func do(t *testing.T, client *redis.Client, args ...any) {
	t.Helper()
	if err := client.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}
