//go:build deploy

package redis

import (
	"path/filepath"
	"strings"
	"testing"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
	"sightglass/shared/redisurl"
)

// makeCerts returns a directory with a new CA and certificates for hosts.
func makeCerts(t *testing.T, hosts ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	output(t, nil, filepath.Join(shipped, "make-certs"), append([]string{dir}, hosts...)...)
	return dir
}

// TestTLS_ConnectsAndNamesErrors: both daemons run with a private CA and its certificates, and errors say what to do.
func TestTLS_ConnectsAndNamesErrors(t *testing.T) {
	t.Parallel()
	dir := makeCerts(t, "127.0.0.1", "redis.example")
	write(t, filepath.Join(dir, "users.acl"), read(t, filepath.Join(shipped, "users.acl")))
	server := redistest.New(t, settings(t, dir, "redis.conf", "redis-tls.conf"))
	server.Args = []string{"--port", "0", "--tls-port", server.Port()}
	server.Start()
	in := func(name string) string { return filepath.Join(dir, name) }
	url := func(user string) string { return strings.Replace(as(user, server), "redis:", "rediss:", 1) }

	startIngester(t, func(o *ingester.Options) {
		o.Redis, o.RedisCA, o.RedisCert, o.RedisKey = url("ingester"), in("ca.crt"), in("ingester.crt"), in("ingester.key")
	})
	e, _ := startEdge(t, func(o *edge.Options) {
		o.Redis, o.RedisCA, o.RedisCert, o.RedisKey = url("edge"), in("ca.crt"), in("edge.crt"), in("edge.key")
	})
	view(t, e.Addr().String()).expectNew(t, 3)

	_, log := startEdge(t, func(o *edge.Options) { o.Redis = url("edge") })
	programs.Until(t, "the advice in the edge's log", func() bool { return log.Count("--redis-ca must name a file with the CA") > 0 })

	otherCA := makeCerts(t, "127.0.0.1")
	good := redisurl.Options{CA: in("ca.crt"), Cert: in("edge.crt"), Key: in("edge.key")}
	plain := redistest.Start(t)
	for name, c := range map[string]struct {
		url, want string
		set       func(*redisurl.Options)
	}{
		"valid":                 {url("edge"), "", func(*redisurl.Options) {}},
		"another CA":            {url("edge"), "--redis-ca must name", func(o *redisurl.Options) { o.CA = filepath.Join(otherCA, "ca.crt") }},
		"no client certificate": {url("edge"), "--redis-cert and --redis-key must be signed by", func(o *redisurl.Options) { o.Cert, o.Key = "", "" }},
		"another CA's certificate": {url("edge"), "--redis-cert and --redis-key must be signed by", func(o *redisurl.Options) {
			o.Cert, o.Key = filepath.Join(otherCA, "edge.crt"), filepath.Join(otherCA, "edge.key")
		}},
		"a name not in the certificate": {strings.Replace(url("edge"), "127.0.0.1", "localhost", 1), "must be a name or address in Redis's certificate", func(*redisurl.Options) {}},
		"a port without TLS":            {"rediss://" + plain.Addr(), "Without TLS use redis://", func(*redisurl.Options) {}},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			c.set(&o)
			client, err := redisurl.Open(c.url, o)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			err = client.Ping(t.Context()).Err()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
