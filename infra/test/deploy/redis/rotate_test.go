//go:build deploy

package redis

import (
	"path/filepath"
	"testing"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
)

// TestRedis_PasswordRotation is docs/redis.md step by step: nothing restarts, and clients notice nothing.
func TestRedis_PasswordRotation(t *testing.T) {
	t.Parallel()
	dir := makeUsers(t)
	server := redistest.New(t, settings(t, dir, "redis.conf"))
	server.Start()
	operator := admin(t, server, dir)
	acl := func(args ...any) {
		t.Helper()
		if err := operator.Do(t.Context(), append([]any{"ACL"}, args...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	cut := func(user string) {
		t.Helper()
		if n, err := operator.ClientKillByFilter(t.Context(), "USER", user).Result(); err != nil || n == 0 {
			t.Fatalf("%d connections of %s were cut: %v", n, user, err)
		}
	}
	startIngester(t, func(o *ingester.Options) {
		o.Redis, o.RedisPasswordFile = "redis://ingester@"+server.Addr(), filepath.Join(dir, "ingester.password")
	})
	e, log := startEdge(t, func(o *edge.Options) {
		o.Redis, o.RedisPasswordFile = "redis://edge@"+server.Addr(), filepath.Join(dir, "edge.password")
	})
	v := view(t, e.Addr().String())
	for _, user := range []string{"edge", "ingester"} {
		file := filepath.Join(dir, user+".password")
		old := read(t, file)
		acl("SETUSER", user, ">new of "+user) // both hold
		write(t, file, "new of "+user+"\n")
		cut(user)
		v.goesOn(t, 2)
		acl("SETUSER", user, "<"+old)
		cut(user)
		v.goesOn(t, 2)
		acl("SAVE")
	}
	if denied, err := operator.Do(t.Context(), "ACL", "LOG").Slice(); err != nil || len(denied) != 0 {
		t.Errorf("redis denied something: %v %v", denied, err)
	}

	// What goes wrong when the file is forgotten: it is told, and once the file is right it works again.
	acl("SETUSER", "edge", "resetpass", ">newest")
	cut("edge")
	programs.Until(t, "the edge to be refused", func() bool { return log.Count("WRONGPASS") > 0 })
	write(t, filepath.Join(dir, "edge.password"), "newest")
	v.goesOn(t, 2)
	if n := log.Count("newest") + log.Count("new of"); n != 0 {
		t.Errorf("a password is in the log %d times", n)
	}
}
