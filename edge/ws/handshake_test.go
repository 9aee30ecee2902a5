package ws

import "testing"

func TestHasToken_IgnoresCaseAndSpace(t *testing.T) {
	for list, want := range map[string]bool{
		"upgrade": true, "Upgrade": true, "keep-alive, Upgrade": true, "keep-alive ,upgrade ": true,
		"": false, "upgraded": false, "keep-alive": false, "keep alive upgrade": false,
	} {
		if got := hasToken(list, "upgrade"); got != want {
			t.Errorf("%q: got %v, want %v", list, got, want)
		}
	}
}
