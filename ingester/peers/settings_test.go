package peers

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestSettings_Forms(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  string
		on   bool
		want []string
	}{
		"none":                       {nil, "", false, nil},
		"alone":                      {[]string{"--peers"}, "", true, nil},
		"before another flag":        {[]string{"--peers", "--peers-count=4"}, "", true, nil},
		"with addresses":             {[]string{"--peers", "192.0.2.1:8333,[2001:db8::1]:8333"}, "", true, []string{"192.0.2.1:8333", "[2001:db8::1]:8333"}},
		"with =":                     {[]string{"--peers=192.0.2.1:8333"}, "", true, []string{"192.0.2.1:8333"}},
		"false":                      {[]string{"--peers=false"}, "", false, nil},
		"environment":                {nil, "true", true, nil},
		"environment, off":           {nil, "false", false, nil},
		"environment, addresses":     {nil, "192.0.2.1:8333,192.0.2.2:8333", true, []string{"192.0.2.1:8333", "192.0.2.2:8333"}},
		"environment, and a flag":    {[]string{"--peers"}, "192.0.2.1:8333", true, nil},
		"environment, a flag's list": {[]string{"--peers", "192.0.2.3:8333"}, "true", true, []string{"192.0.2.3:8333"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.env != "" {
				t.Setenv("TEST_PEERS", c.env)
			}
			var s Settings
			parser, err := kong.New(&s, kong.DefaultEnvars("TEST"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			if s.Peers.On != c.on || !slices.Equal(s.Peers.Named, c.want) {
				t.Errorf("got %+v, want %v, %v", s.Peers, c.on, c.want)
			}
		})
	}
}

func TestSettings_Errors(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string // empty: none
	}{
		"defaults":           {[]string{"--peers"}, ""},
		"off":                {[]string{"--peers-quorum=99"}, ""},
		"no port":            {[]string{"--peers=192.0.2.1"}, `--peers "192.0.2.1": want HOST:PORT`},
		"no host":            {[]string{"--peers=:8333"}, `--peers ":8333": want HOST:PORT`},
		"port 0":             {[]string{"--peers=192.0.2.1:0"}, "want HOST:PORT"},
		"empty item":         {[]string{"--peers=192.0.2.1:8333,"}, `--peers "": want HOST:PORT`},
		"too many":           {[]string{"--peers", "--peers-count=33"}, "--peers-count 33: want 1 to 32"},
		"quorum above count": {[]string{"--peers", "--peers-quorum=9"}, "--peers-quorum 9: want 1 to 8"},
		"one peer":           {[]string{"--peers=192.0.2.1:8333"}, ""},
		"proxy alone":        {[]string{"--proxy=127.0.0.1:9050"}, "--proxy is set without --peers"},
		"proxy":              {[]string{"--peers", "--proxy=tor"}, `--proxy "tor": want HOST:PORT`},
	} {
		t.Run(name, func(t *testing.T) {
			var s Settings
			parser, err := kong.New(&s)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			err = s.CheckPeers()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
