//go:build deploy

package proxy

import (
	"net/http"
	"testing"

	"sightglass/infra/test/internal/wstest"
	"sightglass/shared/contract"
)

const perAddress = 10

// TestBalancer_EleventhStreamOfAddressIsRejected: on every edge, and with forged headers. Another address is accepted.
func TestBalancer_EleventhStreamOfAddressIsRejected(t *testing.T) {
	build(t, asShipped, nil, func(t *testing.T, env *environment) {
		url := wstest.URL(env.lb.addr)
		for i := range perAddress {
			if code := join(t, url, source(0), forgedHeaders(i)); code != 0 {
				t.Fatalf("client %d: got close code %d, want none", i+1, code)
			}
		}
		for i, e := range env.edges {
			if n := e.clients(); n != perAddress/2 {
				t.Errorf("edge %d: got %d of the %d clients, want half", i+1, n, perAddress)
			}
		}
		for _, header := range []http.Header{nil, forgedHeaders(perAddress), forgedHeaders(-1)} {
			if code := join(t, url, source(0), header); code != wstest.TooMany {
				t.Errorf("one client too many with %v: got close code %d, want %d", header, code, wstest.TooMany)
			}
		}
		if n := env.client.ZCard(t.Context(), contract.KeyLimitPrefix+source(0).String()).Val(); n != perAddress {
			t.Errorf("got %d leases of the address, want %d", n, perAddress)
		}
		// A client that forges the limited address is counted by its own.
		forged := http.Header{"X-Forwarded-For": {source(0).String()}, "Forwarded": {"for=" + source(0).String()}}
		if code := join(t, url, source(1), forged); code != 0 {
			t.Errorf("another address: got close code %d, want none", code)
		}
		if n := env.client.ZCard(t.Context(), contract.KeyLimitPrefix+source(1).String()).Val(); n != 1 {
			t.Errorf("got %d leases of the other address, want 1", n)
		}
	})
}

// forgedHeaders returns headers with which a client may claim another address.
func forgedHeaders(i int) http.Header {
	other := "203.0.113." + string(rune('1'+max(i, 0)%9))
	if i < 0 {
		return http.Header{"X-Forwarded-For": {other, other + ", 127.0.0.1", "127.0.0.1, garbage"}, "X-Real-Ip": {other}}
	}
	return http.Header{"X-Forwarded-For": {other}, "Forwarded": {"for=" + other}, "X-Real-Ip": {other}}
}
