package ws

import (
	"slices"
	"strings"
)

// The names of the extension and its parameters (RFC 7692). They are case-sensitive: a client that gets another spelling in
// the response than it offered must treat it as an extension that it did not offer, and fail the connection.
const (
	deflateName               = "permessage-deflate"
	serverNoContext           = "server_no_context_takeover"
	clientNoContext           = "client_no_context_takeover"
	serverMaxWindowBits       = "server_max_window_bits"
	clientMaxWindowBits       = "client_max_window_bits"
	ourWindowBits             = "15" // a frame is deflated once for all clients, so all have the same window: the largest
	deflateResponse           = deflateName + "; " + serverNoContext + "; " + clientNoContext
	deflateResponseWithWindow = deflateResponse + "; " + serverMaxWindowBits + "=" + ourWindowBits
)

// windowBits are the valid window sizes (RFC 7692, section 7.1.2).
var windowBits = []string{"8", "9", "10", "11", "12", "13", "14", ourWindowBits}

// NegotiateDeflate parses a client's Sec-WebSocket-Extensions header, all of its lines joined by commas, and returns the
// header of the response; "" for no extension. The client's offers are in its order of preference: the first acceptable
// offer of permessage-deflate is accepted (RFC 7692, section 5.1).
//
// A malformed header is treated as no offer. RFC 6455 demands that the connection fail; without an extension it is just as
// safe, and the client gets its stream.
func NegotiateDeflate(header string) (response string) {
	offers, ok := parseExtensions(header)
	if !ok {
		return ""
	}
	for _, offer := range offers {
		if offer.name != deflateName {
			continue
		}
		if response, ok := acceptDeflate(offer.params); ok {
			return response
		}
	}
	return ""
}

// acceptDeflate declines what RFC 7692, section 7, requires a server to decline: a parameter that is unknown, repeated or
// has an invalid value; and a server window smaller than ours. The client's own window may have any valid size.
func acceptDeflate(params []param) (response string, ok bool) {
	response = deflateResponse
	for i, p := range params {
		if slices.ContainsFunc(params[:i], func(earlier param) bool { return earlier.name == p.name }) {
			return "", false
		}
		switch p.name {
		case serverNoContext, clientNoContext:
			ok = !p.hasValue
		case clientMaxWindowBits:
			ok = !p.hasValue || slices.Contains(windowBits, p.value)
		case serverMaxWindowBits:
			ok = p.value == ourWindowBits
			response = deflateResponseWithWindow // the response must repeat the parameter (section 7.1.2.1)
		default:
			ok = false
		}
		if !ok {
			return "", false
		}
	}
	return response, true
}

// An extension is one element of a Sec-WebSocket-Extensions header.
type extension struct {
	name   string
	params []param
}

type param struct {
	name, value string // the value without its quotes
	hasValue    bool
}

// parseExtensions parses the list of RFC 6455, section 9.1, and reports false for anything else. Elements may be empty, as in
// all lists (RFC 9110, section 5.6.1). Values may be empty too: an invalid offer does not invalidate the others.
func parseExtensions(header string) (all []extension, ok bool) {
	s := scanner(header)
	for {
		for s.accept(',') {
		}
		if s.atEnd() {
			return all, true
		}
		e, ok := s.extension()
		if !ok || !s.atEnd() && !s.accept(',') {
			return nil, false
		}
		all = append(all, e)
	}
}

// A scanner is the unread rest of a header's value.
type scanner string

func (s *scanner) extension() (e extension, ok bool) {
	if e.name = s.token(); e.name == "" {
		return e, false
	}
	for s.accept(';') {
		p, ok := s.param()
		if !ok {
			return e, false
		}
		e.params = append(e.params, p)
	}
	return e, true
}

func (s *scanner) param() (p param, ok bool) {
	if p.name = s.token(); p.name == "" {
		return p, false
	}
	if p.hasValue = s.accept('='); !p.hasValue {
		return p, true
	}
	if s.accept('"') {
		p.value, ok = s.quotedRest()
		return p, ok
	}
	p.value = s.token()
	return p, true
}

// skipSpace skips white space.
func (s *scanner) skipSpace() { *s = scanner(strings.TrimLeft(string(*s), " \t")) }

func (s *scanner) atEnd() bool {
	s.skipSpace()
	return *s == ""
}

// accept skips white space and the character, and reports true, if the character comes next.
func (s *scanner) accept(char byte) bool {
	if s.atEnd() || (*s)[0] != char {
		return false
	}
	*s = (*s)[1:]
	return true
}

// token returns the next token; "" if none comes next.
func (s *scanner) token() string {
	s.skipSpace()
	end := 0
	for end < len(*s) && isTokenChar((*s)[end]) {
		end++
	}
	token := string((*s)[:end])
	*s = (*s)[end:]
	return token
}

// isTokenChar is tchar of RFC 9110, section 5.6.2.
func isTokenChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// quotedRest returns the rest of a quoted string with its escapes resolved. It reports false if the string does not end.
func (s *scanner) quotedRest() (text string, ok bool) {
	var out strings.Builder
	for i := 0; i < len(*s); i++ {
		switch c := (*s)[i]; {
		case c == '"':
			*s = (*s)[i+1:]
			return out.String(), true
		case c == '\\' && i+1 < len(*s):
			i++
			out.WriteByte((*s)[i])
		default:
			out.WriteByte(c)
		}
	}
	return "", false
}
