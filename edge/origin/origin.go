// Package origin decides which web pages may open a WebSocket here. Browsers name the page's origin and no page can
// change that; the same-origin policy does not cover WebSockets, so it is for the server to look.
package origin

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Any is the setting that lets pages of any origin in.
const Any = "*"

// Allowed are the origins whose pages may connect. The zero value allows pages of the same host alone.
type Allowed struct {
	any     bool
	origins map[string]bool // in the form of origin.String
}

// Parse reads a setting: origins such as https://example.org, or Any. Its error names each one that is wrong.
func Parse(list []string) (Allowed, error) {
	a := Allowed{origins: make(map[string]bool, len(list))}
	var wrong []error
	for _, entry := range list {
		entry = strings.TrimSpace(entry)
		if entry == Any {
			a.any = true
			continue
		}
		o, ok := parse(entry)
		if !ok || strings.Contains(o.host, Any) { // *.example.org is not understood, so it must not look as if it were
			wrong = append(wrong, fmt.Errorf("%q: want SCHEME://HOST or SCHEME://HOST:PORT, such as https://example.org, or *", entry))
			continue
		}
		a.origins[o.String()] = true
	}
	return a, errors.Join(wrong...)
}

// Allow reports whether a request with these headers may connect. One without an Origin may: programs send none, and a
// browser always does.
func (a Allowed) Allow(origins []string, host string) bool {
	switch {
	case len(origins) == 0 || a.any:
		return true
	case len(origins) > 1: // no browser sends two, and who looks at which is anyone's guess
		return false
	}
	o, ok := parse(origins[0])
	return ok && (a.origins[o.String()] || o.sameHost(host))
}

// An origin is a page's, in lower case, with its port always given.
type origin struct{ scheme, host, port string }

func (o origin) String() string { return o.scheme + "://" + net.JoinHostPort(o.host, o.port) }

// parse reads scheme://host[:port]. It is not ok for "null", which a page without an origin of its own sends.
func parse(s string) (origin, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || *u != (url.URL{Scheme: u.Scheme, Host: u.Host}) {
		return origin{}, false
	}
	o := origin{u.Scheme, strings.ToLower(u.Hostname()), u.Port()}
	if o.port == "" {
		o.port = defaultPorts[o.scheme]
	}
	return o, o.host != "" && o.port != ""
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// sameHost compares with a Host header. The scheme by which the browser reached us is not known behind a proxy that
// ends TLS, so hosts are compared and a Host without a port is at the default one of the page's own scheme.
func (o origin) sameHost(host string) bool {
	u, err := url.Parse("//" + host)
	if err != nil || u.Host != host {
		return false
	}
	port := u.Port()
	if port == "" {
		port = defaultPorts[o.scheme]
	}
	return strings.EqualFold(o.host, u.Hostname()) && o.port == port
}
