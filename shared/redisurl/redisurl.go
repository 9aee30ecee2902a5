// Package redisurl opens a Redis from a URL: a single server, one behind Sentinel, or a Cluster. Ingesters and edges
// use the same URL, so both parse it here.
package redisurl

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Forms lists the valid URLs, for help and errors. The library's own forms are accepted too: redis:// with master_name=
// means Sentinel, redis:// with addr= a Cluster.
const Forms = "redis://HOST:6379, unix:///PATH, redis+sentinel://HOST:26379?master_name=NAME&addr=HOST2:26379 or " +
	"redis+cluster://HOST:6379?addr=HOST2:6379, with TLS rediss://, rediss+sentinel:// or rediss+cluster://"

// timeout bounds each step: dialling, writing, reading a response. A half-open connection is closed after it.
const timeout = 2 * time.Second

// Options are the settings that are not in the URL.
type Options struct {
	Name         string // of the connections in CLIENT LIST
	PasswordFile string // file with the password; read for each connection. Empty: the URL's
	CA           string // file of the CAs that sign Redis's certificate, in PEM. Empty: the system's
	Cert, Key    string // files of our certificate, in PEM, read for each connection. Empty: none
}

// Check returns what is wrong with a URL and its options; nil if nothing is. It reads the files and connects to
// nothing.
func Check(url string, o Options) error {
	_, err := parse(url, o)
	return err
}

// Open returns a client for a URL. It does not connect yet. The client does not retry commands: the next snapshot is
// the next try. Errors never contain a password.
func Open(url string, o Options) (redis.UniversalClient, error) {
	t, err := parse(url, o)
	if err != nil {
		return nil, err
	}
	switch {
	case t.cluster != nil:
		return redis.NewClusterClient(t.cluster), nil
	case t.sentinel != nil:
		client := redis.NewFailoverClient(t.sentinel)
		client.AddHook(unknownMaster(t.sentinel.MasterName))
		return client, nil
	default:
		return redis.NewClient(t.single), nil
	}
}

// A target is a parsed URL; one of the three is set.
type target struct {
	single   *redis.Options
	sentinel *redis.FailoverOptions
	cluster  *redis.ClusterOptions
}

type (
	dialFunc       = func(ctx context.Context, network, addr string) (net.Conn, error)
	credentialFunc = func(ctx context.Context) (user, password string, err error)
)

func parse(url string, o Options) (*target, error) {
	t, err := read(url)
	if err != nil {
		return nil, fmt.Errorf("--redis: %w", err)
	}
	secure, user, password := t.parts()
	if *secure, err = o.secure(*secure, t.single == nil); err != nil {
		return nil, err
	}
	credentials, err := o.credentials(*user, *password)
	if err != nil {
		return nil, err
	}
	t.tune(o.Name, dialer(*secure), credentials)
	return t, nil
}

// parts returns the settings that files may replace. User and password are Redis's own, not Sentinel's.
func (t *target) parts() (secure **tls.Config, user, password *string) {
	switch {
	case t.cluster != nil:
		return &t.cluster.TLSConfig, &t.cluster.Username, &t.cluster.Password
	case t.sentinel != nil:
		return &t.sentinel.TLSConfig, &t.sentinel.Username, &t.sentinel.Password
	default:
		return &t.single.TLSConfig, &t.single.Username, &t.single.Password
	}
}

// tune sets the options that are not the URL's. Nothing is retried. A Cluster's redirections are followed (up to three,
// the library's default), because they tell a client that a key has moved; with Sentinel, a new connection finds the
// new master. CLIENT SETINFO, CLIENT MAINT_NOTIFICATIONS and COMMAND are not sent: they would require more rights, and
// Redis 7.0 lacks the first two.
func (t *target) tune(name string, dial dialFunc, credentials credentialFunc) {
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if s := t.single; s != nil {
		if s.Network == "tcp" {
			s.Dialer = dial
		}
		s.CredentialsProviderContext = credentials
		s.DialTimeout, s.ReadTimeout, s.WriteTimeout, s.ContextTimeoutEnabled = timeout, timeout, timeout, true
		s.MaxRetries, s.DialerRetries = -1, 1
		s.ClientName, s.DisableIdentity, s.MaintNotificationsConfig = name, true, quiet
	}
	if s := t.sentinel; s != nil {
		s.Dialer, s.CredentialsProviderContext = dial, credentials
		s.DialTimeout, s.ReadTimeout, s.WriteTimeout, s.ContextTimeoutEnabled = timeout, timeout, timeout, true
		s.MaxRetries, s.DialerRetries = -1, 1
		s.ClientName, s.DisableIdentity = name, true
	}
	if c := t.cluster; c != nil {
		c.Dialer, c.CredentialsProviderContext = dial, credentials
		c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.ContextTimeoutEnabled = timeout, timeout, timeout, true
		c.MaxRetries, c.DialerRetries = -1, 1
		c.ClientName, c.DisableIdentity, c.MaintNotificationsConfig = name, true, quiet
		c.DisableRoutingPolicies = true
	}
}
