package ws

import (
	"slices"
	"strings"
)

// The extension as RFC 7692 names it. Names are compared letter by letter: a client that is answered with another
// spelling than its own has to take that for an extension that it did not ask for, and fail the connection.
const (
	deflateName             = "permessage-deflate"
	serverNoContext         = "server_no_context_takeover"
	clientNoContext         = "client_no_context_takeover"
	serverMaxWindowBits     = "server_max_window_bits"
	clientMaxWindowBits     = "client_max_window_bits"
	ourWindowBits           = "15" // a frame is deflated once for all clients, so there is one window: the largest
	deflateAnswer           = deflateName + "; " + serverNoContext + "; " + clientNoContext
	deflateAnswerWithWindow = deflateAnswer + "; " + serverMaxWindowBits + "=" + ourWindowBits
)

// windowBits are the values that a window may have (RFC 7692, section 7.1.2).
var windowBits = []string{"8", "9", "10", "11", "12", "13", "14", ourWindowBits}

// NegotiateDeflate reads a client's Sec-WebSocket-Extensions header, all of its lines joined by commas, and gives what to
// answer: "" to agree on no extension. The client's offers stand in the order of its preference, and the first one of
// permessage-deflate that we can keep to is taken (RFC 7692, section 5.1).
//
// A header that breaks the grammar agrees on nothing. RFC 6455 would have the connection fail; a client that is told of no
// extension is as safe, and has its stream.
func NegotiateDeflate(header string) (answer string) {
	offers, ok := parseExtensions(header)
	if !ok {
		return ""
	}
	for _, offer := range offers {
		if offer.name != deflateName {
			continue
		}
		if answer, ok := acceptDeflate(offer.params); ok {
			return answer
		}
	}
	return ""
}

// acceptDeflate declines what RFC 7692, section 7, says a server must: a parameter that is unknown, given twice, or has a
// value that it may not have; and a window for us that is smaller than ours. The client's own window may be any.
func acceptDeflate(params []param) (answer string, ok bool) {
	answer = deflateAnswer
	for i, p := range params {
		if slices.ContainsFunc(params[:i], func(before param) bool { return before.name == p.name }) {
			return "", false
		}
		switch p.name {
		case serverNoContext, clientNoContext:
			ok = !p.hasValue
		case clientMaxWindowBits:
			ok = !p.hasValue || slices.Contains(windowBits, p.value)
		case serverMaxWindowBits:
			ok = p.value == ourWindowBits
			answer = deflateAnswerWithWindow // who asks must be told (section 7.1.2.1)
		default:
			ok = false
		}
		if !ok {
			return "", false
		}
	}
	return answer, true
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

// parseExtensions reads the list of RFC 6455, section 9.1; it is not ok for anything else. Elements may be empty, as in
// all lists (RFC 9110, section 5.6.1). So may values: what is wrong with one offer leaves the others alone.
func parseExtensions(header string) (all []extension, ok bool) {
	s := scanner(header)
	for {
		for s.take(',') {
		}
		if s.atEnd() {
			return all, true
		}
		e, ok := s.extension()
		if !ok || !s.atEnd() && !s.take(',') {
			return nil, false
		}
		all = append(all, e)
	}
}

// A scanner is what is left to read of a header's value.
type scanner string

func (s *scanner) extension() (e extension, ok bool) {
	if e.name = s.token(); e.name == "" {
		return e, false
	}
	for s.take(';') {
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
	if p.hasValue = s.take('='); !p.hasValue {
		return p, true
	}
	if s.take('"') {
		p.value, ok = s.untilQuote()
		return p, ok
	}
	p.value = s.token()
	return p, true
}

// skip passes over white space.
func (s *scanner) skip() { *s = scanner(strings.TrimLeft(string(*s), " \t")) }

func (s *scanner) atEnd() bool {
	s.skip()
	return *s == ""
}

// take passes over one character, if it comes next.
func (s *scanner) take(char byte) bool {
	if s.atEnd() || (*s)[0] != char {
		return false
	}
	*s = (*s)[1:]
	return true
}

// token gives the token that comes next; "" if none does.
func (s *scanner) token() string {
	s.skip()
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

// untilQuote gives the rest of a quoted string, its escapes resolved. It is not ok if that does not end.
func (s *scanner) untilQuote() (text string, ok bool) {
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
