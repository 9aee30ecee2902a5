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

// TestRedis_PasswordRotation follows docs/redis.md step by step: no process restarts, and clients get every snapshot.
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
			t.Fatalf("got %d killed connections of %s, error %v, want some", n, user, err)
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
		acl("SETUSER", user, ">new of "+user) // both passwords are valid
		write(t, file, "new of "+user+"\n")
		cut(user)
		v.expectNew(t, 2)
		acl("SETUSER", user, "<"+old)
		cut(user)
		v.expectNew(t, 2)
		acl("SAVE")
	}
	if denied, err := operator.Do(t.Context(), "ACL", "LOG").Slice(); err != nil || len(denied) != 0 {
		t.Errorf("got denied commands %v, error %v, want none", denied, err)
	}

	// Without the new password in the file the edge logs the error; with it the edge reconnects.
	acl("SETUSER", "edge", "resetpass", ">newest")
	cut("edge")
	programs.Until(t, "a rejected password", func() bool { return log.Count("WRONGPASS") > 0 })
	write(t, filepath.Join(dir, "edge.password"), "newest")
	v.expectNew(t, 2)
	if n := log.Count("newest") + log.Count("new of"); n != 0 {
		t.Errorf("got %d passwords in the log, want none", n)
	}
}
