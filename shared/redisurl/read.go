package redisurl

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

var errForm = errors.New("want " + Forms)

// errEscape stands for every error that quotes what it could not read, which may be a password.
var errEscape = errors.New("this is no URL (it is not repeated here, as it may hold a password): / ? # % @ & in a user " +
	"or password are written %2F %3F %23 %25 %40 %26, and a port is a number; " + errForm.Error())

// ours are the library's parameters whose values we decide, and those that our clients do not have.
var ours = []string{
	"client_name", "max_retries", "dialer_retries", "dial_timeout", "read_timeout", "write_timeout",
	"context_timeout_enabled", "disableIdentity", "identitySuffix",
}

// read makes a URL into options of the library.
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
		return nil, fmt.Errorf("a parameter is wrong (which one is not told, as it may be a part of the password; & and # in it are written %%26 and %%23, or take --redis-password-file); %w", errForm)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; %w", err, errForm)
	}
	return t, nil
}

// implied is how the library's users tell the forms apart.
func implied(query url.Values) string {
	switch {
	case query.Has("master_name"):
		return "sentinel"
	case query.Has("addr"):
		return "cluster"
	}
	return ""
}

// misplaced reports whether a password stands where it is not taken for one: it held a character that ends it.
func misplaced(u *url.URL) bool {
	if u.Fragment != "" || strings.Contains(u.Path, "@") {
		return true
	}
	query := u.Query()
	query.Del("password")
	query.Del("username")
	return strings.Contains(query.Encode(), "%40")
}

// check refuses what the library would pass over, or fail on later.
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
		return errors.New("one host stands before the path, the others are parameters: redis+sentinel://HOST:26379?master_name=NAME&addr=HOST2:26379&addr=HOST3:26379")
	}
	for _, name := range ours {
		if query.Has(name) {
			return fmt.Errorf("%s is not for the URL: Sightglass decides it", name)
		}
	}
	if kind == "sentinel" && query.Get("master_name") == "" {
		return errors.New("the name of the master is missing: ?master_name=mymaster, as it stands in the Sentinels' `sentinel monitor` line")
	}
	if kind == "sentinel" && (query.Has("route_by_latency") || query.Has("route_randomly")) {
		return errors.New("route_by_latency and route_randomly are for a Cluster; with Sentinel edges may have replica_only=true")
	}
	if kind == "cluster" && strings.Trim(u.Path, "/") != "" {
		return errors.New("a Cluster has no databases but 0: leave out what follows the port")
	}
	return nil
}
