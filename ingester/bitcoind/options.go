package bitcoind

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options configure a Client. Credentials are one of Cookie, User and Password, or a user in the URL.
type Options struct {
	URL            string                // http://HOST:PORT, or https; may hold USER:PASSWORD@
	Cookie         string                // path of bitcoind's .cookie, read for each try: a restart of the node changes it
	User, Password string                // as in the node's rpcauth= or rpcuser= and rpcpassword=
	Timeout        time.Duration         // of one try of one call or batch; 0: 30 s
	MaxResponse    int64                 // bytes; 0: 256 MiB, for a batch of the largest transactions
	Registerer     prometheus.Registerer // registers the metrics of one Client; nil: no metrics
}

// Validate returns what is wrong with the options, and which to change. It does not read the cookie file: the node may
// be down, and writes the file when it starts.
func (o Options) Validate() error {
	_, err := o.resolve()
	return err
}

// resolve validates the options and moves the user out of the URL, so that no error shows it. No message repeats the
// URL: if it is malformed, the password may be anywhere in it.
func (o Options) resolve() (Options, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Path, "@") {
		return o, errors.New("--rpc is not a URL: want http://HOST:PORT; in a password write / ? # @ and % as %2F %3F %23 %40 %25")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return o, errors.New("--rpc must begin with http:// or https://, such as http://127.0.0.1:8332")
	case u.Hostname() == "":
		return o, errors.New("--rpc names no host: want http://HOST:PORT, such as http://127.0.0.1:8332")
	case u.Port() == "" && u.Scheme == "http":
		return o, errors.New("--rpc names no port: want http://HOST:PORT, such as http://127.0.0.1:8332")
	case u.User != nil && o.User+o.Password != "":
		return o, errors.New("--rpc has a user, and --rpc-user or --rpc-password is set too: remove one of them")
	case o.Timeout < 0:
		return o, errors.New("the timeout of RPC calls is negative")
	}
	if u.User != nil {
		o.User = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	u.User = nil
	o.URL = u.String()
	return o, o.checkCredentials()
}

func (o Options) checkCredentials() error {
	switch {
	case o.Cookie != "" && o.User+o.Password != "":
		return errors.New("--rpc-cookie is set, and a user or password too: remove one of them")
	case o.Cookie != "":
		return nil
	case o.User == "" && o.Password == "":
		return errors.New("no credentials for the node's RPC: want --rpc-cookie PATH or --rpc-user and --rpc-password")
	case o.User == "":
		return errors.New("--rpc-password is set without --rpc-user: want both")
	case o.Password == "":
		return errors.New("--rpc-user is set without --rpc-password: want both")
	case strings.Contains(o.User, ":"):
		return errors.New("--rpc-user must not contain a colon, which ends the user in HTTP")
	}
	return nil
}
