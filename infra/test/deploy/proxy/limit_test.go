//go:build deploy

package proxy

import (
	"net/http"
	"testing"

	"sightglass/infra/test/internal/wstest"
	"sightglass/shared/contract"
)

const perAddress = 10

// TestBalancer_EleventhStreamOfAddressIsRejected is refused, on whichever edge, and whoever it says it is; another person is not.
func TestBalancer_EleventhStreamOfAddressIsRejected(t *testing.T) {
	build(t, asShipped, nil, func(t *testing.T, env *environment) {
		url := wstest.URL(env.lb.addr)
		for i := range perAddress {
			if code := join(t, url, person(0), pretending(i)); code != 0 {
				t.Fatalf("client %d was closed with %d", i+1, code)
			}
		}
		for i, e := range env.edges {
			if n := e.clients(); n != perAddress/2 {
				t.Errorf("edge %d has %d of the %d, want half: the balancer does not spread them", i+1, n, perAddress)
			}
		}
		for _, header := range []http.Header{nil, pretending(perAddress), pretending(-1)} {
			if code := join(t, url, person(0), header); code != wstest.TooMany {
				t.Errorf("one too many with %v was closed with %d, want %d", header, code, wstest.TooMany)
			}
		}
		if n := env.client.ZCard(t.Context(), contract.KeyLimitPrefix+person(0).String()).Val(); n != perAddress {
			t.Errorf("the edges count %d of the address, want %d", n, perAddress)
		}
		// Who says to be the one who has all places has his own all the same.
		said := http.Header{"X-Forwarded-For": {person(0).String()}, "Forwarded": {"for=" + person(0).String()}}
		if code := join(t, url, person(1), said); code != 0 {
			t.Errorf("another person was closed with %d", code)
		}
		if n := env.client.ZCard(t.Context(), contract.KeyLimitPrefix+person(1).String()).Val(); n != 1 {
			t.Errorf("the edges count %d of the other person's address, want 1", n)
		}
	})
}

// pretending is what a client may send to be taken for others.
func pretending(i int) http.Header {
	other := "203.0.113." + string(rune('1'+max(i, 0)%9))
	if i < 0 {
		return http.Header{"X-Forwarded-For": {other, other + ", 127.0.0.1", "127.0.0.1, garbage"}, "X-Real-Ip": {other}}
	}
	return http.Header{"X-Forwarded-For": {other}, "Forwarded": {"for=" + other}, "X-Real-Ip": {other}}
}
