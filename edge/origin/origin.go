// Package origin decides which web pages may open a WebSocket here, and which may read the API. Browsers name the page's
// origin and no page can change that; the same-origin policy does not cover WebSockets, so it is for the server to look.
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

// Any is the setting that lets pages of any origin in.
const Any = "*"

// null is what a browser sends for a page that has no origin of its own, such as a sandboxed frame, or none to tell.
const null = "null"

// Allowed are the origins whose pages may connect. The zero value allows pages of the same host alone.
type Allowed struct {
	any     bool
	origins map[string]bool // in the form of origin.String
}

// Parse reads a setting: origins such as https://example.org or tauri://localhost, null, or Any. Its error names each one
// that is wrong.
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
			err = o.mayMatch()
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%q: want SCHEME://HOST or SCHEME://HOST:PORT, such as https://example.org, null, or *: %w", entry, err))
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
	o, err := parse(origins[0])
	return err == nil && (a.origins[o.String()] || o.sameHost(host))
}

// Any reports whether the setting lets pages of any origin in.
func (a Allowed) Any() bool { return a.any }

// Lists reports whether the setting lets pages of this origin in.
func (a Allowed) Lists(page string) bool {
	o, err := parse(page)
	return a.any || err == nil && a.origins[o.String()]
}

// An origin is a page's, in lower case, with the port always given if its scheme has one. The zero value is null's.
//
// Applications have schemes of their own. Chromium writes their hosts in lower case and WebKit as they are, but two that
// differ in case alone are not worth telling apart.
type origin struct{ scheme, host, port string }

func (o origin) String() string {
	if o == (origin{}) {
		return null
	}
	return o.scheme + "://" + net.JoinHostPort(o.host, o.port)
}

// parse reads scheme://host[:port], or null. A page from the disk may send file://, which has no host; one of the Web has
// one.
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
		return origin{}, errors.New("this is no scheme, host or port")
	}
	o := origin{u.Scheme, strings.ToLower(u.Hostname()), u.Port()}
	if _, err := strconv.ParseUint(o.port, 10, 16); o.port != "" && err != nil {
		return origin{}, errors.New("a port is a number up to 65535")
	}
	defaultPort, ofTheWeb := defaultPorts[o.scheme]
	if o.port == "" {
		o.port = defaultPort
	}
	if o.host == "" && (ofTheWeb || rest != "") {
		return origin{}, errors.New("there is no host")
	}
	return o, nil
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// mayMatch says why no page can ever have a listed origin; nil if one can.
func (o origin) mayMatch() error {
	switch {
	case strings.Contains(o.host, Any):
		return errors.New("part of a name is not understood, list each")
	case strings.ContainsFunc(o.host, func(r rune) bool { return r >= utf8.RuneSelf }):
		return errors.New("browsers send such a name in ASCII (xn--)")
	case o.scheme == "ws", o.scheme == "wss":
		return errors.New("that is where a page connects; its own origin is of http or https")
	case o.scheme == "ftp":
		return errors.New("browsers show no pages of ftp")
	}
	return nil
}

// sameHost compares with a Host header. The scheme by which the browser reached us is not known behind a proxy that
// ends TLS, so hosts are compared and a Host without a port is at the default one of the page's own scheme. An
// application's page came from no host.
func (o origin) sameHost(host string) bool {
	defaultPort, ofTheWeb := defaultPorts[o.scheme]
	u, err := url.Parse("//" + host)
	if !ofTheWeb || err != nil || u.Host != host {
		return false
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return strings.EqualFold(o.host, u.Hostname()) && o.port == port
}
