package redisurl

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

var errForm = errors.New("want " + Forms)

// errEscape replaces every error that quotes the URL, which may contain a password.
var errEscape = errors.New("not a URL (not repeated here, as it may contain a password): write / ? # % @ & in a user " +
	"or password as %2F %3F %23 %25 %40 %26, and the port as a number; " + errForm.Error())

// ours are the library's parameters that this package sets itself, and those that its clients do not have.
var ours = []string{
	"client_name", "max_retries", "dialer_retries", "dial_timeout", "read_timeout", "write_timeout",
	"context_timeout_enabled", "disableIdentity", "identitySuffix",
}

// read parses a URL into the library's options.
func read(raw string) (*target, error) {
	u, err := url.Parse(raw)
	if err != nil || misplaced(u) {
		return nil, errEscape
	}
	scheme, kind, _ := strings.Cut(u.Scheme, "+")
	query := u.Query()
	if kind == "" && scheme != "unix" {
		kind = implied(query)
	}
	if err := check(u, kind); err != nil {
		return nil, err
	}
	u.Scheme = scheme
	t := new(target)
	switch kind {
	case "sentinel":
		t.sentinel, err = redis.ParseFailoverURL(u.String())
	case "cluster":
		t.cluster, err = redis.ParseClusterURL(u.String())
	default:
		t.single, err = redis.ParseURL(u.String())
	}
	if err != nil && query.Has("password") {
		return nil, fmt.Errorf("a parameter is invalid (not repeated here, as it may be a part of the password: write & and # in it as %%26 and %%23, or use --redis-password-file); %w", errForm)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; %w", err, errForm)
	}
	return t, nil
}

// implied returns the kind of Redis that a URL means without +sentinel or +cluster, as in the library's own forms.
func implied(query url.Values) string {
	switch {
	case query.Has("master_name"):
		return "sentinel"
	case query.Has("addr"):
		return "cluster"
	}
	return ""
}

// misplaced reports whether a part of the password is in another part of the URL, because of an unescaped character.
func misplaced(u *url.URL) bool {
	if u.Fragment != "" || strings.Contains(u.Path, "@") {
		return true
	}
	query := u.Query()
	query.Del("password")
	query.Del("username")
	return strings.Contains(query.Encode(), "%40")
}

// check rejects URLs that the library would accept and ignore in part, or fail on later.
func check(u *url.URL, kind string) error {
	query := u.Query()
	switch u.Scheme {
	case "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster":
	default:
		return errForm
	}
	if u.Opaque != "" {
		return errForm
	}
	if strings.Contains(u.Host, ",") {
		return errors.New("want one host before the path, and the others as parameters: redis+sentinel://HOST:26379?master_name=NAME&addr=HOST2:26379&addr=HOST3:26379")
	}
	for _, name := range ours {
		if query.Has(name) {
			return fmt.Errorf("%s must not be in the URL: Sightglass sets it itself", name)
		}
	}
	if kind == "sentinel" && query.Get("master_name") == "" {
		return errors.New("want the name of the master: ?master_name=mymaster, as in the Sentinels' `sentinel monitor` line")
	}
	if kind == "sentinel" && (query.Has("route_by_latency") || query.Has("route_randomly")) {
		return errors.New("route_by_latency and route_randomly are for a Cluster; with Sentinel, edges may use replica_only=true")
	}
	if kind == "cluster" && strings.Trim(u.Path, "/") != "" {
		return errors.New("a Cluster has only database 0: remove the database after the port")
	}
	return nil
}
