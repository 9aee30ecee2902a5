package bitcoind

import (
	"strings"
	"testing"
	"time"
)

func TestOptions_Validate(t *testing.T) {
	const url = "http://127.0.0.1:8332"
	for name, c := range map[string]struct {
		o    Options
		want string // in the error; empty: none
	}{
		"cookie":                    {Options{URL: url, Cookie: "/does/not/exist/yet"}, ""},
		"user and password":         {Options{URL: url + "/", User: user, Password: password}, ""},
		"user in the URL":           {Options{URL: "http://alice:ses%2Fame@[::1]:8332"}, ""},
		"https without a port":      {Options{URL: "https://node.example/path", Cookie: "c"}, ""},
		"no options":                {Options{}, "--rpc must begin with http://"},
		"no scheme":                 {Options{URL: "localhost:8332", Cookie: "c"}, "--rpc must begin with http://"},
		"no scheme, an address":     {Options{URL: "127.0.0.1:8332", Cookie: "c"}, "--rpc is not a URL"},
		"another scheme":            {Options{URL: "tcp://127.0.0.1:28332", Cookie: "c"}, "--rpc must begin with http://"},
		"no host":                   {Options{URL: "http://:8332", Cookie: "c"}, "--rpc names no host"},
		"no port":                   {Options{URL: "http://localhost", Cookie: "c"}, "--rpc names no port"},
		"a slash in the password":   {Options{URL: "http://alice:ses/ame@localhost:8332"}, "write / ? # @ and % as"},
		"a number and a slash":      {Options{URL: "http://alice:12/sesame@localhost:8332"}, "write / ? # @ and % as"},
		"a hash in the password":    {Options{URL: "http://alice:12#sesame@localhost:8332"}, "write / ? # @ and % as"},
		"a percent in the password": {Options{URL: "http://alice:sesame%@localhost:8332"}, "write / ? # @ and % as"},
		"no credentials":            {Options{URL: url}, "--rpc-cookie PATH or --rpc-user and --rpc-password"},
		"cookie and user":           {Options{URL: url, Cookie: "c", User: user, Password: password}, "--rpc-cookie is set, and"},
		"cookie and URL":            {Options{URL: "http://alice:sesame@localhost:8332", Cookie: "c"}, "--rpc-cookie is set, and"},
		"user and URL":              {Options{URL: "http://alice:sesame@localhost:8332", User: user, Password: password}, "--rpc has a user"},
		"only a user":               {Options{URL: url, User: user}, "--rpc-user is set without --rpc-password"},
		"only a user in the URL":    {Options{URL: "http://alice@localhost:8332"}, "--rpc-user is set without --rpc-password"},
		"only a password":           {Options{URL: url, Password: password}, "--rpc-password is set without --rpc-user"},
		"a colon in the user":       {Options{URL: url, User: "al:ice", Password: password}, "must not contain a colon"},
		"a timeout below 0":         {Options{URL: url, Cookie: "c", Timeout: -time.Second}, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.o.Validate()
			if _, made := New(c.o); (made == nil) != (err == nil) {
				t.Errorf("got %v from New and %v from Validate, want the same", made, err)
			}
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v\nwant an error with %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), password):
				t.Errorf("got the password in %v", err)
			}
		})
	}
}
