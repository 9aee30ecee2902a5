package ws

import (
	"strings"
	"testing"
)

// The possible responses.
const (
	none     = ""
	agreed   = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	agreed15 = agreed + "; server_max_window_bits=15"
)

func TestNegotiateDeflate_Response(t *testing.T) {
	for header, want := range map[string]string{
		"":                   none,
		"permessage-deflate": agreed,
		"permessage-deflate; client_max_window_bits":                               agreed, // Chromium's and Firefox's
		"permessage-deflate;server_no_context_takeover;client_no_context_takeover": agreed,
		" permessage-deflate\t;\tclient_max_window_bits = 10 ":                     agreed,
		"permessage-deflate; server_max_window_bits=15":                            agreed15,
		`permessage-deflate; server_max_window_bits="15"; client_max_window_bits`:  agreed15,

		// The values of a window: 8 to 15, in the one way to write them.
		"permessage-deflate; client_max_window_bits=8":      agreed,
		"permessage-deflate; client_max_window_bits=15":     agreed,
		`permessage-deflate; client_max_window_bits="15"`:   agreed,
		`permessage-deflate; client_max_window_bits="1\5"`:  agreed,
		"permessage-deflate; client_max_window_bits=7":      none,
		"permessage-deflate; client_max_window_bits=16":     none,
		"permessage-deflate; client_max_window_bits=08":     none,
		"permessage-deflate; client_max_window_bits=+8":     none,
		"permessage-deflate; client_max_window_bits=abc":    none,
		"permessage-deflate; client_max_window_bits=":       none,
		`permessage-deflate; client_max_window_bits=""`:     none,
		`permessage-deflate; client_max_window_bits=" 10"`:  none,
		`permessage-deflate; client_max_window_bits="10,8"`: none,
		"permessage-deflate; server_max_window_bits":        none,
		"permessage-deflate; server_max_window_bits=":       none,
		"permessage-deflate; server_max_window_bits=10":     none, // ours is larger
		"permessage-deflate; server_max_window_bits=16":     none,
		"permessage-deflate; server_max_window_bits=015":    none,

		// Parameters that are invalid in another way.
		"permessage-deflate; server_no_context_takeover=1":                             none,
		"permessage-deflate; client_no_context_takeover=":                              none,
		"permessage-deflate; mood=good":                                                none,
		"permessage-deflate; Client_Max_Window_Bits":                                   none,
		"permessage-deflate; client_max_window_bits; client_max_window_bits":           none,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover":   none,
		"permessage-deflate; server_max_window_bits=15; server_max_window_bits=15":     none,
		"permessage-deflate; client_max_window_bits=10; x; client_no_context_takeover": none,

		// Other extensions, and the name in another case.
		"x-webkit-deflate-frame":                     none,
		"permessage-deflate-not":                     none,
		"not-permessage-deflate":                     none,
		"Permessage-Deflate":                         none,
		"PERMESSAGE-DEFLATE; client_max_window_bits": none,
		`foo; a="b, permessage-deflate, c"`:          none,
		`foo; a="b\", permessage-deflate, \"c"`:      none,
		`foo; a="b", permessage-deflate`:             agreed,
		`foo; a="b\\", permessage-deflate`:           agreed,

		// Several offers: the first acceptable one.
		"permessage-deflate; client_max_window_bits=7, permessage-deflate":                             agreed,
		"permessage-deflate; client_max_window_bits=, permessage-deflate":                              agreed,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate; server_max_window_bits=15": agreed15,
		"permessage-deflate, permessage-deflate; server_max_window_bits=15":                            agreed,
		"Permessage-Deflate, permessage-deflate":                                                       agreed,
		"foo, permessage-deflate; client_max_window_bits; server_no_context_takeover ":                 agreed,
		", ,permessage-deflate,,": agreed, // empty elements are none

		// A malformed list is no offer, wherever the error is.
		"permessage-deflate;":                        none,
		"permessage-deflate;;client_max_window_bits": none,
		"permessage-deflate client_max_window_bits":  none,
		"permessage-deflate; =8":                     none,
		`"permessage-deflate"`:                       none,
		"permessage-deflate, foo; a=\"b":             none,
		`permessage-deflate, foo; a="b\`:             none,
		`permessage-deflate, foo; a="b"c`:            none,
		"permessage-deflate, f\x00o":                 none,
		"permessage-deflate, f/o":                    none,
		"permessage-deflate, f\u00f6":                none,
	} {
		if got := NegotiateDeflate(header); got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
}

// FuzzNegotiateDeflate checks with any header: the response is a possible one, other extensions before or after change
// nothing, and the value of another extension is no offer.
func FuzzNegotiateDeflate(f *testing.F) {
	for _, seed := range []string{
		"permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=15, x", `foo; a="b, permessage-deflate, c"`,
		`permessage-deflate; client_max_window_bits="1\0"`, "permessage-deflate;", `"`, `\`, ", ,", "Permessage-Deflate", "a b",
	} {
		f.Add(seed)
	}
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	f.Fuzz(func(t *testing.T, header string) {
		response := NegotiateDeflate(header)
		if response != none && response != agreed && response != agreed15 {
			t.Errorf("%q: got %q, want a possible response", header, response)
		}
		if response != none && !strings.Contains(header, deflateName) {
			t.Errorf("%q: got it accepted without an offer, want no extension", header)
		}
		if after := NegotiateDeflate(header + ", foo"); after != response {
			t.Errorf("%q: got %q with another extension after it, want %q", header, after, response)
		}
		if after := NegotiateDeflate(`foo; a="b", ` + header); after != response {
			t.Errorf("%q: got %q with another extension before it, want %q", header, after, response)
		}
		if quoted := NegotiateDeflate(`foo; a="` + quote.Replace(header) + `"`); quoted != none {
			t.Errorf("%q: quoted, got %q, want no extension", header, quoted)
		}
	})
}
