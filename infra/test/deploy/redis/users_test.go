//go:build deploy

package redis

import (
	"errors"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/edge"
	"sightglass/infra/test/internal/daemons"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
	"sightglass/shared/contract"
	"sightglass/shared/history"
	"sightglass/shared/redisurl"
)

// inspector is a user of the tests alone.
const inspector = "user inspector on nopass ~* &* +@all\n"

// startShipped starts Redis with the shipped redis.conf and users.acl.
func startShipped(t *testing.T) (*redistest.Server, *redis.Client) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "users.acl"), read(t, filepath.Join(shipped, "users.acl"))+inspector)
	server := redistest.New(t, settings(t, dir, "redis.conf"))
	server.Start()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "inspector", Password: "any"})
	t.Cleanup(func() { client.Close() })
	return server, client
}

// as returns the URL for one of the users with its example password.
func as(user string, server *redistest.Server) string {
	return "redis://" + url.UserPassword(user, "change-me-"+user).String() + "@" + server.Addr()
}

// TestMakeUsers_PrintsExample: users.acl has the rights that make-users generates.
func TestMakeUsers_PrintsExample(t *testing.T) {
	t.Parallel()
	if made := output(t, nil, filepath.Join(shipped, "make-users"), "--example"); made != read(t, filepath.Join(shipped, "users.acl")) {
		t.Errorf("got another output of make-users --example, want users.acl:\n%s", made)
	}
	dir := makeUsers(t)
	first := read(t, filepath.Join(dir, "users.acl"))
	if strings.Contains(first, "off #") || strings.Count(first, " on #") != 7 {
		t.Errorf("got\n%s\nwant seven active users", first)
	}
	output(t, nil, filepath.Join(shipped, "make-users"), dir)
	if read(t, filepath.Join(dir, "users.acl")) != first {
		t.Error("got other passwords from a second run, want the same")
	}
}

// TestUsers_RightsSuffice: both daemons run with all features, and Redis denies no command.
func TestUsers_RightsSuffice(t *testing.T) {
	t.Parallel()
	server, client := startShipped(t)
	in := ingester.Defaults()
	in.Redis = as("ingester", server)
	for _, finding := range ingester.Probe(t.Context(), in) {
		if finding.Subject == "redis" && finding.Verdict != ingester.Good {
			t.Errorf("checkconfig --probe: got %s, want no bad finding", finding.Text)
		}
	}
	_, ingesterLog := startIngester(t, func(o *ingester.Options) { o.Redis = in.Redis })
	plain, plainLog := startEdge(t, func(o *edge.Options) { o.Redis = as("edge", server) })
	counting, countingLog := startEdge(t, func(o *edge.Options) { o.Redis, o.LimitScope = as("edge-limits", server), "cluster" })
	view(t, plain.Addr().String()).expectNew(t, 3)
	view(t, counting.Addr().String()).expectNew(t, 3)
	expectTenOnAll(t, 1, counting)
	programs.Until(t, "a history", func() bool { return historyOf(t, plain) > 0 && historyOf(t, counting) > 0 })
	keepState(t, in)
	keepHistory(t, open(t, in.Redis, ""))
	for _, user := range []string{"edge", "edge-limits", "watcher"} {
		reader := open(t, as(user, server), "")
		readHistory(t, reader)
		for _, key := range []string{contract.KeyLatest, contract.KeyPoints, contract.KeyEvidence} {
			if err := reader.Get(t.Context(), key).Err(); err != nil && !errors.Is(err, redis.Nil) {
				t.Errorf("%s: got %v from GET %s, want none", user, err, key)
			}
		}
	}
	if denied, err := client.Do(t.Context(), "ACL", "LOG").Slice(); err != nil || len(denied) != 0 {
		t.Errorf("got denied commands %v, error %v, want none", denied, err)
	}
	for _, log := range []*daemons.Journal{ingesterLog, plainLog, countingLog} {
		if log.Count("NOPERM") != 0 || log.Count("level=ERROR") != 0 {
			t.Error("got errors in the log, want none")
		}
	}
}

// keepHistory writes all keys of the history, as an ingester does with a backfill.
func keepHistory(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	ctx := t.Context()
	blocks := []history.Block{{Entry: history.Entry{Timestamp: 1556771672, Price: 5313.57}, Height: 574200}}
	held, err := history.Acquire(ctx, client, "test", time.Minute)
	if err != nil || !held {
		t.Errorf("got %v, %v, want the lease", held, err)
	}
	for _, err := range []error{
		history.Upgrade(ctx, client), history.AddDays(ctx, client, blocks), history.AddBlocks(ctx, client, blocks), history.AddRecent(ctx, client, 0),
		history.Progress{From: 574200, To: 574200}.Write(ctx, client), history.Release(ctx, client, "test"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	blocks[0].Timestamp -= history.Hour // a reorganisation removes the candle of an hour
	if err := history.AddBlocks(ctx, client, blocks); err != nil {
		t.Error(err)
	}
	readHistory(t, client)
}

// readHistory reads all keys of the history.
func readHistory(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	ctx := t.Context()
	recent, _, err := history.Recent.ReadAll(ctx, client)
	blocks, _, err2 := history.Blocks.ReadAll(ctx, client)
	hours, _, err3 := history.Hours.ReadAll(ctx, client)
	days, _, err4 := history.Days.ReadAll(ctx, client)
	_, err5 := history.CheckSchema(ctx, client)
	progress, err6 := history.ReadProgress(ctx, client)
	if err := errors.Join(err, err2, err3, err4, err5, err6); err != nil || len(recent) == 0 || len(blocks) == 0 || len(hours) == 0 || len(days) == 0 || progress == nil {
		t.Errorf("got %v, %d, %d, %d, %d rows and the progress %v, want all", err, len(recent), len(blocks), len(hours), len(days), progress)
	}
}

func open(t *testing.T, url, passwordFile string) redis.UniversalClient {
	t.Helper()
	client, err := redisurl.Open(url, redisurl.Options{PasswordFile: passwordFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// TestUsers_ForbiddenCommands: Redis denies each user the commands and keys that it does not need.
func TestUsers_ForbiddenCommands(t *testing.T) {
	t.Parallel()
	server, inspector := startShipped(t)
	for _, key := range []string{contract.KeyLatest, contract.KeyEngine, "other"} {
		if err := inspector.Set(t.Context(), key, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	forAll := []string{
		"CONFIG GET *", "FLUSHALL", "KEYS *", "ACL LIST", "GET other", "SET other x", "PUBLISH other x", "SUBSCRIBE other",
		"SHUTDOWN NOSAVE", "REPLICAOF NO ONE", "MONITOR", "CLIENT LIST", "SCRIPT FLUSH", "FUNCTION FLUSH", "SELECT 0", "SWAPDB 0 0",
	}
	reader := append([]string{
		"SET " + contract.KeyLatest + " x", "DEL " + contract.KeyLatest, "PUBLISH " + contract.Channel + " x", "ZADD " + history.KeyRecent + " 1 x", "ZADD " + history.KeyDays + " 1 x", "SET " + history.KeyLease + " x", "GET " + contract.KeyEngine,
	}, forAll...)
	for user, commands := range map[string][]string{
		"ingester":    forAll,
		"edge":        append([]string{"EVAL return(1) 0", "ZADD " + contract.KeyLimitPrefix + "192.0.2.1 1 x"}, reader...),
		"edge-limits": append([]string{"ZRANGE other 0 -1", "ZREM " + history.KeyRecent + " x"}, reader...),
		"watcher":     append([]string{"ZRANGE " + contract.KeyLimitPrefix + "192.0.2.1 0 -1", "EVAL return(1) 0"}, reader...),
	} {
		t.Run(user, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: user, Password: "change-me-" + user, Protocol: 2})
			defer client.Close()
			for _, command := range commands {
				var args []any
				for word := range strings.FieldsSeq(command) {
					args = append(args, word)
				}
				if err := client.Do(t.Context(), args...).Err(); !redis.IsPermissionError(err) {
					t.Errorf("%s: got %v, want NOPERM", command, err)
				}
			}
		})
	}
	for user, password := range map[string]string{"default": "", "admin": "change-me-admin", "edge": "wrong"} {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: user, Password: password})
		if err := client.Ping(t.Context()).Err(); !redis.IsAuthError(err) {
			t.Errorf("%s: got %v, want a rejected login", user, err)
		}
		client.Close()
	}
}

// TestUsers_WatcherRights: the watcher can run the commands of docs/redis.md.
func TestUsers_WatcherRights(t *testing.T) {
	t.Parallel()
	server, inspector := startShipped(t)
	for _, err := range []error{
		inspector.Set(t.Context(), contract.KeyLatest, "newest", 0).Err(),
		inspector.ZAdd(t.Context(), history.KeyRecent, redis.Z{Score: 1, Member: "entry"}).Err(),
		inspector.ZAdd(t.Context(), history.KeyDays, redis.Z{Score: 1, Member: "day"}).Err(),
		inspector.Set(t.Context(), history.KeySchema, history.Schema, 0).Err(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for command, want := range map[string]string{
		"GET " + contract.KeyLatest: "newest", "ZRANGE " + history.KeyRecent + " 0 -1": "entry", "ZCARD " + history.KeyRecent: "1",
		"ZRANGE " + history.KeyDays + " -1 -1": "day", "ZCARD " + history.KeyBlocks: "0", "GET " + history.KeySchema: strconv.Itoa(history.Schema), "GET " + history.KeyProgress: "",
		"TTL " + contract.KeyLatest: "-1", "INFO server": "redis_version:", "PING": "PONG",
		"PTTL sightglass:leader:{sightglass:latest}": "-2", "PUBSUB NUMSUB " + contract.Channel: contract.Channel,
	} {
		args := append([]string{"-u", as("watcher", server), "--no-auth-warning"}, strings.Fields(command)...)
		if got := output(t, nil, "redis-cli", args...); !strings.Contains(got, want) {
			t.Errorf("%s: got %s", command, got)
		}
	}
}
