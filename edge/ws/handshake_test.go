package ws

import "testing"

func TestOffersDeflate(t *testing.T) {
	for offers, want := range map[string]bool{
		"":                   false,
		"permessage-deflate": true,
		"permessage-deflate; client_max_window_bits":                                   true, // Chrome's and Firefox's
		"permessage-deflate;server_no_context_takeover;client_no_context_takeover":     true,
		"permessage-deflate; client_max_window_bits=10":                                true,
		"permessage-deflate; server_max_window_bits=10":                                false, // our window is larger
		"permessage-deflate; server_max_window_bits=15":                                true,
		`permessage-deflate; server_max_window_bits="15"`:                              true,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":            true, // the second offer
		"permessage-deflate; mood=good":                                                false,
		"x-webkit-deflate-frame":                                                       false,
		"permessage-deflate-not":                                                       false,
		"Permessage-Deflate":                                                           true,
		"foo, permessage-deflate; client_max_window_bits; server_no_context_takeover ": true,
	} {
		if got := OffersDeflate(offers); got != want {
			t.Errorf("%q: got %v", offers, got)
		}
	}
}

func TestHasToken(t *testing.T) {
	for list, want := range map[string]bool{
		"upgrade": true, "Upgrade": true, "keep-alive, Upgrade": true, "keep-alive ,upgrade ": true,
		"": false, "upgraded": false, "keep-alive": false, "keep alive upgrade": false,
	} {
		if got := hasToken(list, "upgrade"); got != want {
			t.Errorf("%q: got %v", list, got)
		}
	}
}
