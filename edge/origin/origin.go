// Package origin decides which web pages may open a stream, and which may read the API. Browsers send the page's origin and
// pages cannot change it. The same-origin policy does not cover WebSockets, so the server must check the origin.
package origin

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Any is the setting that allows pages of any origin.
const Any = "*"

// null is the Origin that browsers send for a page without an origin, such as a sandboxed frame.
const null = "null"

// Allowed are the origins whose pages may connect. The zero value allows only pages of the same host.
type Allowed struct {
	any     bool
	origins map[string]bool // in the form of origin.String
}

// Parse parses a setting: origins such as https://example.org or tauri://localhost, null, or Any. Its error names every
// invalid one.
func Parse(list []string) (Allowed, error) {
	a := Allowed{origins: make(map[string]bool, len(list))}
	var wrong []error
	for _, entry := range list {
		entry = strings.TrimSpace(entry)
		if entry == Any {
			a.any = true
			continue
		}
		o, err := parse(entry)
		if err == nil {
			err = o.checkListed()
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%q: want SCHEME://HOST or SCHEME://HOST:PORT, such as https://example.org, null, or *: %w", entry, err))
			continue
		}
		a.origins[o.String()] = true
	}
	return a, errors.Join(wrong...)
}

// Allow reports whether a request with these Origin headers and this Host header may connect. A request without an Origin
// may: programs send none, browsers always do.
func (a Allowed) Allow(origins []string, host string) bool {
	switch {
	case len(origins) == 0 || a.any:
		return true
	case len(origins) > 1: // no browser sends two
		return false
	}
	o, err := parse(origins[0])
	return err == nil && (a.origins[o.String()] || o.sameHost(host))
}

// Any reports whether the setting allows pages of any origin.
func (a Allowed) Any() bool { return a.any }

// Lists reports whether the setting allows pages of this origin.
func (a Allowed) Lists(page string) bool {
	o, err := parse(page)
	return a.any || err == nil && a.origins[o.String()]
}

// An origin is a page's origin in lower case, with a port if its scheme has a default one. The zero value stands for null.
//
// Applications use schemes of their own. Chromium sends their hosts in lower case, WebKit sends them unchanged; hosts that
// differ only in case are treated as equal.
type origin struct{ scheme, host, port string }

func (o origin) String() string {
	if o == (origin{}) {
		return null
	}
	return o.scheme + "://" + net.JoinHostPort(o.host, o.port)
}

// parse parses scheme://host[:port], or null. Local files may send file://, which has no host; http and https require one.
func parse(s string) (origin, error) {
	if s == null {
		return origin{}, nil
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return origin{}, errors.New("there is no SCHEME://")
	}
	if strings.Contains(rest, "@") {
		return origin{}, errors.New("an origin has no user")
	}
	if strings.ContainsAny(rest, `/?#\`) {
		return origin{}, errors.New("an origin ends with its host and port, without a slash or a path")
	}
	u, err := url.Parse(s)
	if err != nil || !strings.EqualFold(u.Scheme, scheme) || u.Host != rest {
		return origin{}, errors.New("the scheme, host or port is invalid")
	}
	o := origin{u.Scheme, strings.ToLower(u.Hostname()), u.Port()}
	if _, err := strconv.ParseUint(o.port, 10, 16); o.port != "" && err != nil {
		return origin{}, errors.New("a port is a number up to 65535")
	}
	defaultPort, isWeb := defaultPorts[o.scheme]
	if o.port == "" {
		o.port = defaultPort
	}
	if o.host == "" && (isWeb || rest != "") {
		return origin{}, errors.New("there is no host")
	}
	return o, nil
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// checkListed returns an error if no page can have the origin, so that listing it is a mistake.
func (o origin) checkListed() error {
	switch {
	case strings.Contains(o.host, Any):
		return errors.New("wildcards are not supported, list each host")
	case strings.ContainsFunc(o.host, func(r rune) bool { return r >= utf8.RuneSelf }):
		return errors.New("browsers send this name in ASCII (xn--)")
	case o.scheme == "ws", o.scheme == "wss":
		return errors.New("a page's origin begins with http or https, not with ws or wss")
	case o.scheme == "ftp":
		return errors.New("browsers do not show pages over ftp")
	}
	return nil
}

// sameHost reports whether the origin has the host and port of a Host header. The request's scheme is unknown behind a
// proxy that terminates TLS, so schemes are not compared, and a Host without a port has the default port of the origin's
// scheme. Applications' pages have no host.
func (o origin) sameHost(host string) bool {
	defaultPort, isWeb := defaultPorts[o.scheme]
	u, err := url.Parse("//" + host)
	if !isWeb || err != nil || u.Host != host {
		return false
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return strings.EqualFold(o.host, u.Hostname()) && o.port == port
}
